"""A value that decays when validation stops improving."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, Lt

from enface import Schedule


class Plateau(Schedule):
    """start * factor^k, where k counts how often a metric has not improved for more than ``patience`` validations.

    It needs a ``val`` split, ``log.validate`` and the metric among the recipe's. Its state is saved in checkpoints, so
    a resumed run continues exactly. Equal to torch's ReduceLROnPlateau without cooldown.

    Args:
        start: Initial value.
        metric: Name of the metric in the recipe.
        mode: ``min`` if lower is better, ``max`` if higher is (default: the metric's own direction; of a metric with an
            ideal value, such as sharpness, the distance to it is followed).
        factor: Factor applied at each decay.
        patience: Number of validations without improvement that are tolerated.
        threshold: Fraction of the best value (of an ideal, of the smallest distance) by which a new one must be better
            to count as an improvement.
        end: Lower bound of the value.
    """

    def __init__(
        self,
        *,
        start: float,
        metric: str,
        mode: Literal["min", "max"] | None = None,
        factor: Annotated[float, Gt(0), Lt(1)] = 0.5,
        patience: Annotated[int, Ge(0)] = 5,
        threshold: Annotated[float, Ge(0), Lt(1)] = 1e-4,
        end: Annotated[float, Ge(0)] = 0.0,
    ) -> None:
        self.start, self.mode, self.factor, self.end = start, mode, factor, end
        self.patience, self.threshold = patience, threshold
        self._metric = metric
        self._value, self._best, self._waited = start, None, 0.0

    _best: float | None

    @classmethod
    def example(cls, folder: Path) -> Mapping[str, Any]:
        return {"start": 1.0, "metric": "mae", "patience": 1}

    def __call__(self, step: int) -> float:
        return self._value

    @property
    def metric(self) -> str:
        return self._metric

    def observe(self, value: float, score: float) -> None:
        merit = score if self.mode is None else value if self.mode == "max" else -value
        if self._improves(merit):
            self._best, self._waited = merit, 0.0
            return
        self._waited += 1
        if self._waited > self.patience:
            self._value, self._waited = max(self._value * self.factor, self.end), 0.0

    def state(self) -> dict[str, float]:
        best = {} if self._best is None else {"best": self._best}
        return {"value": self._value, "waited": self._waited, **best}

    def restore(self, state: Mapping[str, float]) -> None:
        self._value, self._waited, self._best = state["value"], state["waited"], state.get("best")

    def _improves(self, merit: float) -> bool:
        # An infinite value would never be improved on.
        if not math.isfinite(merit):
            return False
        return self._best is None or merit > self._best + self.threshold * abs(self._best)
