"""Step decay."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from annotated_types import Ge, Gt

from enface import Schedule


class StepDecay(Schedule):
    """Step decay: start * factor ^ floor(step / every).

    Args:
        start: Value of the first ``every`` steps.
        every: Steps between two changes.
        factor: Factor applied at each change.
    """

    def __init__(self, *, start: float, every: Annotated[int, Ge(1)], factor: Annotated[float, Gt(0)] = 0.5) -> None:
        self.start, self.every, self.factor = start, every, factor

    @classmethod
    def example(cls, folder: Path) -> Mapping[str, Any]:
        return {"start": 1.0, "every": 10}

    def __call__(self, step: int) -> float:
        return self.start * self.factor ** (step // self.every)
