"""Packing, batches from a pack, and the memory of training.

    python benchmarks/data.py [--files 20000] [--pairs 5]

The parts are ``packing.py``, ``data_loading.py`` and ``memory.py``; ratios are medians of what was taken in turn.
"""

from __future__ import annotations

import sys

from table import Row, program


def rows(quick: bool = False, files: int = 20_000, pairs: int = 5) -> list[Row]:
    """Every row.

    Args:
        quick: Few files and one pair, to see that it runs.
        files: How many pictures are packed.
    """
    # Imported here: processes that decode import the main module, and are not to wait for torch.
    import data_loading
    import memory
    import packing

    if quick:
        return [*packing.rows(720, 1), *data_loading.rows(10, 1), *memory.rows(1800, 3600, steps=2, repeats=1)]
    found = packing.rows(files, pairs)
    print(*found, sep="\n", file=sys.stderr, flush=True)
    # Pairs of seconds, on a machine that others use: it takes more of them.
    found += data_loading.rows(60, 3 * pairs)
    print(found[-1], file=sys.stderr, flush=True)
    return found + memory.rows()


if __name__ == "__main__":
    program(rows, __doc__)
