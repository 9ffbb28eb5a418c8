"""The rows of the benchmarks' table: a figure, its goal, and whether it holds."""

from __future__ import annotations

import argparse
import inspect
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """What one comparison found.

    Attributes:
        figure: As it is printed.
        goal: Empty where there is none.
        holds: Whether the goal is reached; None where it could not be measured, which ``figure`` then says why.
    """

    what: str
    figure: str
    goal: str
    holds: bool | None

    def __str__(self) -> str:
        verdict = {True: "holds", False: "falls short", None: "not measured" if self.goal else ""}[self.holds]
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

    @classmethod
    def of(cls, slow: Sequence[float], fast: Sequence[float]) -> Ratio:
        """The ratio of seconds that were measured in pairs."""
        ratios = [first / second for first, second in zip(slow, fast, strict=True)]
        return cls(statistics.median(ratios), min(ratios), max(ratios))

    def __str__(self) -> str:
        return f"{self.median:.2f}x ({self.low:.2f} to {self.high:.2f})"

    def row(self, what: str, goal: float) -> Row:
        """A row that holds where the median is at least ``goal``."""
        return Row(what, str(self), f"{goal:g}x", self.median >= goal)


def in_turn(takes: Mapping[str, Callable[[], object]], pairs: int = 7, warm_up: int = 2) -> dict[str, list[float]]:
    """Seconds of several things, taken in turn, so that all meet the same noise of the machine.

    Args:
        pairs: How many times of each count.
        warm_up: How many go before and do not.
    """
    found: dict[str, list[float]] = {name: [] for name in takes}
    for number in range(warm_up + pairs):
        for name, take in takes.items():
            took = seconds(take)
            if number >= warm_up:
                found[name].append(took)
    return found


def program(rows: Callable[..., Sequence[Row]], document: str) -> None:
    """Measure and print, as the command line says: an option for each argument of ``rows``, a flag or a whole number.

    Args:
        document: What the help says.
    """
    parser = argparse.ArgumentParser(description=document, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, argument in inspect.signature(rows).parameters.items():
        if isinstance(argument.default, bool):
            parser.add_argument(f"--{name}", action="store_true")
        else:
            parser.add_argument(f"--{name}", type=int, default=argument.default)
    given = vars(parser.parse_args())
    print(table(rows(**given)))
