"""The rows of the benchmarks' table: a figure, its goal, and whether it holds."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """What one comparison found.

    Attributes:
        figure: As it is printed.
        holds: Whether the goal is reached; None where it could not be measured, which ``figure`` then says why.
    """

    what: str
    figure: str
    goal: str
    holds: bool | None

    def __str__(self) -> str:
        verdict = {True: "holds", False: "falls short", None: "not measured"}[self.holds]
        return f"| {self.what} | {self.figure} | {self.goal} | {verdict} |"


HEAD = "| what | figure | goal | verdict |\n|---|---|---|---|"


def table(rows: Sequence[Row]) -> str:
    """Rows as Markdown."""
    return "\n".join([HEAD, *map(str, rows)])


def seconds(take: Callable[[], object]) -> float:
    """How long a call takes."""
    started = time.perf_counter()
    take()
    return time.perf_counter() - started


@dataclass(frozen=True)
class Ratio:
    """How many times as long ``slow`` takes as ``fast``: the median of pairs, and the least and greatest."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.median:.2f}x ({self.low:.2f} to {self.high:.2f})"

    def row(self, what: str, goal: float) -> Row:
        """A row that holds where the median is at least ``goal``."""
        return Row(what, str(self), f"{goal:g}x", self.median >= goal)


def in_turn(slow: Callable[[], object], fast: Callable[[], object], pairs: int = 7, warm_up: int = 2) -> Ratio:
    """Time two things in turn, so that both meet the same noise of the machine.

    Args:
        pairs: How many pairs count.
        warm_up: How many go before and do not.
    """
    for _ in range(warm_up):
        slow(), fast()
    found = [seconds(slow) / seconds(fast) for _ in range(pairs)]
    return Ratio(statistics.median(found), min(found), max(found))
