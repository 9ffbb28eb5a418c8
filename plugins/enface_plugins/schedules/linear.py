"""A straight line between two values."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from annotated_types import Ge

from enface import Schedule


class Linear(Schedule):
    """A straight line: ``start`` up to step ``begin``, ``end`` from step ``begin + over``.

    Args:
        start: Value up to and at step ``begin``.
        end: Value at and after step ``begin + over``.
        over: Length of the change, in steps.
        begin: Step at which the change begins, counted from 0 at the start of the stage.
    """

    def __init__(
        self, *, start: float, end: float, over: Annotated[int, Ge(1)], begin: Annotated[int, Ge(0)] = 0
    ) -> None:
        self.start, self.end, self.over, self.begin = start, end, over, begin

    @classmethod
    def example(cls, folder: Path) -> Mapping[str, Any]:
        return {"start": 1.0, "end": 0.0, "over": 100}

    def __call__(self, step: int) -> float:
        progress = min(max((step - self.begin) / self.over, 0.0), 1.0)
        # Unlike start + (end - start) * progress, this form gives both ends exactly.
        return self.start * (1 - progress) + self.end * progress
