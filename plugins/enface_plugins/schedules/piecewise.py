"""A table of values."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from annotated_types import Ge, MinLen

from enface import Schedule


class Piecewise(Schedule):
    """A table of values at steps, ``points: {0: 0, 1000: 1.0e-3, 50_000: 0}``.

    Before the first point the value is that of the first, after the last that of the last. A recipe that extends
    another adds its points to the parent's, as with any map.

    Args:
        points: Value at each step, in any order.
        between: Interpolation between points: a straight ``line``, or ``steps``, which hold each value until the next
            point.
    """

    def __init__(
        self,
        *,
        points: Annotated[dict[Annotated[int, Ge(0)], float], MinLen(1)],
        between: Literal["line", "steps"] = "line",
    ) -> None:
        self.points = sorted(points.items())
        self.between = between

    @classmethod
    def example(cls, folder: Path) -> Mapping[str, Any]:
        return {"points": {10: 0.0, 60: 1.0, 100: 0.5}}

    def __call__(self, step: int) -> float:
        reached = bisect_right(self.points, step, key=lambda point: point[0])
        since, value = self.points[max(reached - 1, 0)]
        if reached in (0, len(self.points)) or self.between == "steps":
            return value
        until, following = self.points[reached]
        progress = (step - since) / (until - since)
        return value * (1 - progress) + following * progress
