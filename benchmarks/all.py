"""Every benchmark that has a goal, one table of ratio, goal and verdict.

    python benchmarks/all.py [--quick] [--only training data ...]

Each program runs in a process of its own, as it does alone. In whole that takes about half an hour on two cores;
``--quick`` shows in minutes that all of it runs, and its figures mean nothing. What a graphics card does is measured
by ``gpu.py``.
"""

from __future__ import annotations

import argparse
import importlib
import multiprocessing
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from table import Row, table

# In the order of docs/benchmarks.md.
PROGRAMS = ("training", "freeze", "gan", "data", "evaluation", "startup")


def rows(program: str, quick: bool) -> list[Row]:
    """What a program of this folder found."""
    sys.path.insert(0, str(Path(__file__).parent))
    found: list[Row] = importlib.import_module(program).rows(quick)
    return found


def measured(program: str, quick: bool) -> list[Row]:
    """The same, in a process of its own; a row that says so where it fails."""
    started = time.monotonic()
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        try:
            found = pool.submit(rows, program, quick).result()
        except Exception as error:
            found = [Row(program, f"failed: {error!r}", "to run", None)]
    print(f"{program}: {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)
    return found


def main() -> int:
    """Measure and print; 1 where a goal is missed or a program failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="Only show that everything runs.")
    parser.add_argument("--only", nargs="*", default=list(PROGRAMS), choices=PROGRAMS)
    arguments = parser.parse_args()
    found = [row for program in arguments.only for row in measured(program, arguments.quick)]
    print(table(found))
    return 0 if all(row.holds or not row.goal for row in found) else 1


if __name__ == "__main__":
    sys.exit(main())
