"""Packing, batches from a pack, and memory of training.

    python benchmarks/data.py [--quick] [--files 20000] [--pairs 5]

The parts are ``packing.py``, ``data_loading.py`` and ``memory.py``. Ratios are medians of alternating timings.
"""

from __future__ import annotations

import sys

from table import Row, run_program


def rows(quick: bool = False, files: int = 20_000, pairs: int = 5) -> list[Row]:
    """Return all rows.

    Args:
        quick: Few files and one pair of timings, to test the benchmark.
        files: Number of images to pack.
        pairs: Timings of each side of a ratio.
    """
    # Imported here, because the processes that decode images import the main module and need no torch.
    import data_loading
    import memory
    import packing

    if quick:
        return [*packing.rows(720, 1), *data_loading.rows(10, 1), *memory.rows(1800, 3600, steps=2, repeats=1)]
    measured = packing.rows(files, pairs)
    print(*measured, sep="\n", file=sys.stderr, flush=True)
    # These timings are short, so that other load on the machine disturbs them more.
    measured += data_loading.rows(60, 3 * pairs)
    print(measured[-1], file=sys.stderr, flush=True)
    return measured + memory.rows()


if __name__ == "__main__":
    run_program(rows, __doc__)
