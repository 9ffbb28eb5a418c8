"""A triangular wave."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from annotated_types import Ge, Gt, Le

from enface import RecipeError, Schedule


class Cyclic(Schedule):
    """A triangular wave between ``low`` and ``high``, starting at ``low``.

    After Smith, "Cyclical learning rates for training neural networks", WACV 2017: its "triangular" policy, and with
    ``shrink: 0.5`` its "triangular2".

    Args:
        low: Value at the bottom of every wave.
        high: Value at the top of the first wave.
        up: Steps from bottom to top.
        down: Steps from top to bottom (default: ``up``).
        shrink: Factor between the heights of successive waves.

    Raises:
        RecipeError: when ``low`` is above ``high``.
    """

    def __init__(
        self,
        *,
        low: float,
        high: float,
        up: Annotated[int, Ge(1)],
        down: Annotated[int, Ge(1)] | None = None,
        shrink: Annotated[float, Gt(0), Le(1)] = 1.0,
    ) -> None:
        if low > high:
            raise RecipeError(f"cyclic: low ({low:g}) must not be above high ({high:g})")
        self.low, self.high, self.up, self.down, self.shrink = low, high, up, down or up, shrink

    @classmethod
    def example(cls, folder: Path) -> Mapping[str, Any]:
        return {"low": 0.1, "high": 1.0, "up": 30, "shrink": 0.9}

    def __call__(self, step: int) -> float:
        waves, since = divmod(step, self.up + self.down)
        rising = since <= self.up
        height = since / self.up if rising else (self.up + self.down - since) / self.down
        height *= self.shrink**waves
        return self.low * (1 - height) + self.high * height
