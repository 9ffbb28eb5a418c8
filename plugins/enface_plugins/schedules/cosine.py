"""Half a cosine wave, with an optional warm-up."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from annotated_types import Ge, Gt

from enface import RecipeError, Schedule


class Cosine(Schedule):
    """Half a cosine wave from ``start`` down (or up) to ``end``, after a linear warm-up.

    With t = (step - warmup) / (over - warmup): end + (start - end) * (1 + cos(pi t)) / 2. The value stays
    ``end`` after step ``over``. After Loshchilov and Hutter, "SGDR", ICLR 2017, without restarts.

    Args:
        start: Value at the top of the wave, at step ``warmup``.
        end: Value at and after step ``over``.
        over: Step at which the wave ends, counting the warm-up.
        warmup: Steps of a linear rise towards ``start``; the first value is start / (warmup + 1), not 0.

    Raises:
        RecipeError: when the warm-up leaves no step for the wave.
    """

    def __init__(
        self,
        *,
        start: float,
        end: float = 0.0,
        over: Annotated[int, Gt(0)],
        warmup: Annotated[int, Ge(0)] = 0,
    ) -> None:
        if warmup >= over:
            raise RecipeError(f"cosine: warmup ({warmup} steps) must be shorter than over ({over} steps)")
        self.start, self.end, self.over, self.warmup = start, end, over, warmup

    @classmethod
    def example(cls, folder: Path) -> Mapping[str, Any]:
        return {"start": 1.0, "over": 100, "warmup": 10}

    def __call__(self, step: int) -> float:
        if step < self.warmup:
            return self.start * (step + 1) / (self.warmup + 1)
        progress = min((step - self.warmup) / (self.over - self.warmup), 1.0)
        height = (1 + math.cos(math.pi * progress)) / 2
        return self.start * height + self.end * (1 - height)
