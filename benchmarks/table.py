"""The benchmarks' table of figures, goals and verdicts; timing and the command line, shared by all."""

from __future__ import annotations

import argparse
import inspect
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

Name = TypeVar("Name")


@dataclass(frozen=True)
class Row:
    """One row of the table.

    Attributes:
        what: The quantity.
        figure: Its value, as it is printed; the reason if it could not be measured.
        goal: As it is printed; empty without a goal.
        met: True if the goal is met; None if it could not be measured, or without a goal.
    """

    what: str
    figure: str
    goal: str
    met: bool | None

    def __str__(self) -> str:
        verdict = {True: "met", False: "missed", None: "not measured" if self.goal else ""}[self.met]
        return f"| {self.what} | {self.figure} | {self.goal} | {verdict} |"


HEAD = "| what | figure | goal | verdict |\n|---|---|---|---|"


def markdown(rows: Sequence[Row]) -> str:
    """Return rows as a Markdown table."""
    return "\n".join([HEAD, *map(str, rows)])


def seconds(call: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> float:
    """Return the duration of a call."""
    started = clock()
    call()
    return clock() - started


@dataclass(frozen=True)
class Ratio:
    """Speed of ``fast`` relative to ``slow``: median, minimum and maximum over pairs of timings."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, slow: Sequence[float], fast: Sequence[float]) -> Ratio:
        """Return the ratio of seconds that were measured in pairs."""
        ratios = [first / second for first, second in zip(slow, fast, strict=True)]
        return cls(statistics.median(ratios), min(ratios), max(ratios))

    def __str__(self) -> str:
        return f"{self.median:.2f}x ({self.low:.2f} to {self.high:.2f})"

    def row(self, what: str, goal: float) -> Row:
        """Return a row whose goal is met if the median is at least ``goal``."""
        return Row(what, str(self), f"{goal:g}x", self.median >= goal)


def time_interleaved(
    calls: Mapping[Name, Callable[[], object]],
    rounds: int = 7,
    warm_up: int = 2,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[Name, list[float]]:
    """Return seconds of several calls, timed in alternation, so that all see the same noise of the machine.

    Args:
        rounds: Timings of each call.
        warm_up: Rounds before these that are not timed.
        clock: Returns seconds.
    """
    times: dict[Name, list[float]] = {name: [] for name in calls}
    for number in range(warm_up + rounds):
        for name, call in calls.items():
            duration = seconds(call, clock)
            if number >= warm_up:
                times[name].append(duration)
    return times


def run_program(rows: Callable[..., Sequence[Row]], document: str) -> None:
    """Measure and print; each argument of ``rows`` is an option on the command line, a flag or an integer.

    Args:
        document: The help text.
    """
    parser = argparse.ArgumentParser(description=document, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, argument in inspect.signature(rows).parameters.items():
        if isinstance(argument.default, bool):
            parser.add_argument(f"--{name}", action="store_true")
        else:
            parser.add_argument(f"--{name}", type=int, default=argument.default)
    print(markdown(rows(**vars(parser.parse_args()))))
