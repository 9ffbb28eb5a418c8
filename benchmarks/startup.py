"""How long ``enface --help`` and ``enface check`` take, each time in a fresh process.

    python benchmarks/startup.py [--quick]

``enface check recipes/quickstart.yaml`` needs torch, so the time of importing it alone is given beside.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from table import Row, in_turn, program

RECIPE = Path(__file__).resolve().parents[1] / "recipes" / "quickstart.yaml"
COMMANDS = {
    "enface --help": ("-m", "enface", "--help"),
    "enface check recipes/quickstart.yaml": ("-m", "enface", "check", str(RECIPE)),
    "import torch": ("-c", "import torch"),
}
GOALS = {"enface --help": 0.4, "enface check recipes/quickstart.yaml": 3.0}


def rows(quick: bool = False, pairs: int = 9) -> list[Row]:
    """The median seconds of each command, the fewest and the most beside."""
    # The first time compiles what was never imported before.
    taken = in_turn({name: process(given) for name, given in COMMANDS.items()}, 1 if quick else pairs, warm_up=1)
    found = []
    for name, times in taken.items():
        median, goal = statistics.median(times), GOALS.get(name)
        figure = f"{median:.2f} s ({min(times):.2f} to {max(times):.2f})"
        found.append(Row(name, figure, f"{goal:g} s" if goal else "", median <= goal if goal else None))
    return found


def process(arguments: tuple[str, ...]) -> Callable[[], object]:
    """A call that runs Python with these arguments to its end, and fails where that does."""
    return lambda: subprocess.run([sys.executable, *arguments], check=True, capture_output=True)


if __name__ == "__main__":
    program(rows, __doc__)
