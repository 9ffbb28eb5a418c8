"""Early stopping: 1 when validation has stopped improving."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from annotated_types import Ge

from enface import Schedule


class Patience(Schedule):
    """0, and 1 once a metric has not improved for ``patience`` validations: for ``stages.NAME.stop``.

    It needs a ``val`` split, ``log.validate`` and the metric among the recipe's. Better is the metric's own direction;
    of a metric with an ideal value, such as sharpness, the distance to it is followed. The state is saved in
    checkpoints, so a resumed run stops at the same step. Prechelt, "Early stopping - but when?", 1998, criterion UP.

    Args:
        metric: Name of the metric in the recipe.
        patience: Number of validations in a row without improvement.
        min_delta: Difference to the best value, in the metric's unit, that an improvement must exceed.
    """

    def __init__(
        self,
        *,
        metric: str,
        patience: Annotated[int, Ge(1)] = 5,
        min_delta: Annotated[float, Ge(0)] = 0.0,
    ) -> None:
        self._metric, self.patience, self.min_delta = metric, patience, min_delta
        self._best, self._score, self._waited = math.nan, -math.inf, 0.0

    @classmethod
    def example(cls, folder: Path) -> Mapping[str, Any]:
        return {"metric": "mae", "patience": 2}

    def __call__(self, step: int) -> float:
        return float(self._waited >= self.patience)

    def __str__(self) -> str:
        return f"{self._metric} did not improve on {self._best:.4g} in {self.patience} validations"

    @property
    def metric(self) -> str:
        return self._metric

    def observe(self, value: float, score: float) -> None:
        if math.isfinite(score) and score > self._score + self.min_delta:
            self._best, self._score, self._waited = value, score, 0.0
        else:
            self._waited += 1

    def state(self) -> dict[str, float]:
        known = {"best": self._best, "score": self._score} if math.isfinite(self._score) else {}
        return {"waited": self._waited, **known}

    def restore(self, state: Mapping[str, float]) -> None:
        self._waited = state["waited"]
        self._best, self._score = state.get("best", math.nan), state.get("score", -math.inf)
