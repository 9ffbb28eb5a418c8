"""Start-up time of ``enface --help`` and ``enface check``, each in a fresh process.

    python benchmarks/startup.py [--quick] [--pairs 9]

``enface check recipes/quickstart.yaml`` needs torch; the time of importing torch alone is reported for comparison.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from table import Row, run_program, time_interleaved

RECIPE = Path(__file__).resolve().parents[1] / "recipes" / "quickstart.yaml"
COMMANDS = {
    "enface --help": ("-m", "enface", "--help"),
    "enface check recipes/quickstart.yaml": ("-m", "enface", "check", str(RECIPE)),
    "import torch": ("-c", "import torch"),
}
GOALS = {"enface --help": 0.4, "enface check recipes/quickstart.yaml": 3.0}


def rows(quick: bool = False, pairs: int = 9) -> list[Row]:
    """Return the seconds of each command: median, minimum and maximum.

    Args:
        quick: Time each command once, to test the benchmark.
        pairs: Timings of each command.
    """
    calls = {name: python(arguments) for name, arguments in COMMANDS.items()}
    # The first round compiles modules that were never imported before.
    timings = time_interleaved(calls, 1 if quick else pairs, warm_up=1)
    return [_row(name, times, GOALS.get(name)) for name, times in timings.items()]


def _row(name: str, times: list[float], goal: float | None) -> Row:
    median = statistics.median(times)
    figure = f"{median:.2f} s ({min(times):.2f} to {max(times):.2f})"
    return Row(name, figure, f"{goal:g} s" if goal else "", median <= goal if goal else None)


def python(arguments: tuple[str, ...]) -> Callable[[], object]:
    """Return a function that runs Python with some arguments, and raises CalledProcessError if that fails."""
    return lambda: subprocess.run([sys.executable, *arguments], check=True, capture_output=True)


if __name__ == "__main__":
    run_program(rows, __doc__)
