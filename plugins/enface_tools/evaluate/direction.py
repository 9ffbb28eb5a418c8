"""The direction in which values of a metric are better."""

from __future__ import annotations

from dataclasses import dataclass


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

    @property
    def arrow(self) -> str:
        """The sign beside the metric's name."""
        if self.ideal is not None:
            return f"\N{RIGHTWARDS ARROW}{self.ideal:g}"
        return "\N{UPWARDS ARROW}" if self.higher else "\N{DOWNWARDS ARROW}"

    @property
    def words(self) -> str:
        """The meaning of the sign."""
        if self.ideal is not None:
            return f"nearer to {self.ideal:g} is better"
        return f"{'higher' if self.higher else 'lower'} is better"
