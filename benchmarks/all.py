"""Run every benchmark that has a goal; print one table of figures, goals and verdicts.

    python benchmarks/all.py [--quick] [--only training data ...]

Each benchmark runs in its own process. All of them take about half an hour on two cores; ``--quick`` tests within
minutes that all of them run, and its figures mean nothing. GPUs are measured by ``gpu.py``.
"""

from __future__ import annotations

import argparse
import importlib
import multiprocessing
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from table import Row, markdown

# In the order of docs/benchmarks.md.
PROGRAMS = ("training", "freeze", "gan", "data", "evaluation", "startup")


def rows(program: str, quick: bool) -> list[Row]:
    """Return the rows of a benchmark in this folder."""
    sys.path.insert(0, str(Path(__file__).parent))
    measured: list[Row] = importlib.import_module(program).rows(quick)
    return measured


def rows_of_process(program: str, quick: bool) -> list[Row]:
    """Return the rows of a benchmark that runs in its own process; a row with the error if it fails."""
    started = time.monotonic()
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        try:
            measured = pool.submit(rows, program, quick).result()
        except Exception as error:
            measured = [Row(program, f"failed: {error!r}", "to run", None)]
    print(f"{program}: {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)
    return measured


def main() -> int:
    """Measure and print; return 1 if a goal is missed or a benchmark failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="Only test that everything runs.")
    parser.add_argument("--only", nargs="*", default=list(PROGRAMS), choices=PROGRAMS, help="Benchmarks to run.")
    arguments = parser.parse_args()
    measured = [row for program in arguments.only for row in rows_of_process(program, arguments.quick)]
    print(markdown(measured))
    return 0 if all(row.met or not row.goal for row in measured) else 1


if __name__ == "__main__":
    sys.exit(main())
