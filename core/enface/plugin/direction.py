"""Which values of a metric are better."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Direction:
    """Which values of a metric are better: higher ones, lower ones, or those nearer to an ideal one."""

    higher: bool
    ideal: float | None = None

    def score(self, value: float) -> float:
        """A number that is higher where the value is better."""
        if self.ideal is not None:
            return -abs(value - self.ideal)
        return value if self.higher else -value

    @property
    def arrow(self) -> str:
        """A sign to put beside the metric's name."""
        if self.ideal is not None:
            return f"\N{RIGHTWARDS ARROW}{self.ideal:g}"
        return "\N{UPWARDS ARROW}" if self.higher else "\N{DOWNWARDS ARROW}"

    @property
    def words(self) -> str:
        """What the sign means."""
        if self.ideal is not None:
            return f"nearer to {self.ideal:g} is better"
        return f"{'higher' if self.higher else 'lower'} is better"
