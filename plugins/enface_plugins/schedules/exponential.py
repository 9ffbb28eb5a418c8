"""Exponential decay."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from annotated_types import Ge, Gt, Le

from enface import Schedule


class Exponential(Schedule):
    """Exponential decay towards 0: start * factor ^ (step / every).

    The smooth curve through the corners of ``step_decay`` with the same parameters.

    Args:
        start: Value at step 0.
        every: Steps after which the value has been multiplied by ``factor``.
        factor: Factor per ``every`` steps; at most 1, so that the value stays finite in a stage of any length.
    """

    def __init__(
        self,
        *,
        start: float,
        every: Annotated[int, Ge(1)],
        factor: Annotated[float, Gt(0), Le(1)] = 0.5,
    ) -> None:
        self.start, self.every, self.factor = start, every, factor

    @classmethod
    def example(cls, folder: Path) -> Mapping[str, Any]:
        return {"start": 1.0, "every": 10}

    def __call__(self, step: int) -> float:
        return float(self.start * self.factor ** (step / self.every))
