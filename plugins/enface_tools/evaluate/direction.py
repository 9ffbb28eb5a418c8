"""The direction in which values of a metric are better, and the range that they have."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Direction:
    """Higher values are better, lower ones, or those nearer to an ideal value."""

    higher: bool
    ideal: float | None = None

    def score(self, value: float) -> float:
        """Return a number that is higher if the value is better."""
        if self.ideal is not None:
            return -abs(value - self.ideal)
        return value if self.higher else -value

    def compared(self, value: Any) -> Any:
        """Return the number that is compared: a value, or its distance from the ideal. Arrays and columns as well."""
        return value if self.ideal is None else abs(value - self.ideal)

    @property
    def change(self) -> Direction:
        """The direction of a difference of compared numbers: of distances, lower is better."""
        return self if self.ideal is None else Direction(higher=False)

    @property
    def arrow(self) -> str:
        """The sign beside the metric's name."""
        if self.ideal is not None:
            return f"\N{RIGHTWARDS ARROW}{self.ideal:g}"
        return "\N{UPWARDS ARROW}" if self.higher else "\N{DOWNWARDS ARROW}"

    @property
    def word(self) -> str:
        """The direction as a cell of a table: ``higher``, ``lower``, ``nearer 1``."""
        if self.ideal is not None:
            return f"nearer {self.ideal:g}"
        return "higher" if self.higher else "lower"

    @property
    def words(self) -> str:
        """The meaning of the sign."""
        if self.ideal is not None:
            return f"nearer to {self.ideal:g} is better"
        return f"{self.word} is better"


def range_text(bounds: Sequence[float | None] | None, unit: str = "") -> str:
    """Return the range of a metric with its unit, as ``0 to 100 (dB)``; None and infinity are open ends."""
    low, high = (None if end is None or math.isinf(end) else end for end in bounds or (None, None))
    if low is None:
        text = "any number" if high is None else f"up to {high:g}"
    else:
        text = f"{low:g} and above" if high is None else f"{low:g} to {high:g}"
    return f"{text} ({unit})" if unit else text
