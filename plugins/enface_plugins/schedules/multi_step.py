"""Step decay at given milestones."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from annotated_types import Ge, Gt, MinLen

from enface import RecipeError, Schedule


class MultiStep(Schedule):
    """Step decay at given milestones: start * factor ^ (number of milestones reached).

    A milestone is reached at its own step: with ``milestones: [100]``, step 99 is the last with ``start``.

    Args:
        start: Value before the first milestone.
        milestones: Steps at which the value changes, in ascending order.
        factor: Factor applied at each milestone.

    Raises:
        RecipeError: when the milestones are not in ascending order.
    """

    def __init__(
        self,
        *,
        start: float,
        milestones: Annotated[list[Annotated[int, Ge(1)]], MinLen(1)],
        factor: Annotated[float, Gt(0)] = 0.1,
    ) -> None:
        if milestones != sorted(set(milestones)):
            raise RecipeError(f"multi_step: milestones must be ascending, not {', '.join(map(str, milestones))}")
        self.start, self.milestones, self.factor = start, milestones, factor

    @classmethod
    def example(cls, folder: Path) -> Mapping[str, Any]:
        return {"start": 1.0, "milestones": [10, 50]}

    def __call__(self, step: int) -> float:
        return self.start * self.factor ** bisect_right(self.milestones, step)
