"""Means of logged values over the steps between two reports."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from enface.training.engine import Engine


class Interval:
    """Sums over the steps since the last report, kept on the device so that no step waits for it.

    A value is averaged over the steps that have it: a term that is active at every second step has the mean of those.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        # Steps with the same values share a vector of sums: {names: (sums, steps)}.
        self._totals: dict[tuple[str, ...], tuple[Tensor, int]] = {}
        self._images, self._seconds = 0, 0.0

    def add(self, values: Mapping[str, Tensor], images: int, seconds: float) -> None:
        """Add a step that trained on ``images`` images within ``seconds``."""
        self._images, self._seconds = self._images + images, self._seconds + seconds
        if values:
            stacked = torch.stack([value.detach().double() for value in values.values()])
            total, steps = self._totals.get(tuple(values), (torch.zeros_like(stacked), 0))
            self._totals[tuple(values)] = total + stacked, steps + 1

    def report(self) -> dict[str, float]:
        """Return the means over steps and processes, and ``images_per_second``. Waits for the device."""
        started = time.perf_counter()
        sums: dict[str, Tensor] = {}
        steps: dict[str, int] = {}
        for names, (total, count) in self._totals.items():
            for name, value in zip(names, total, strict=True):
                sums[name] = sums[name] + value if name in sums else value
                steps[name] = steps.get(name, 0) + count
        means = self._engine.average({name: value / steps[name] for name, value in sums.items()})
        # The last step has ended on the device only now.
        speed = self._images / (self._seconds + time.perf_counter() - started)
        return {**means, "images_per_second": speed}

    def state(self) -> list[Any]:
        """Return the sums, averaged over processes, as JSON values. Every process must call it."""
        return [
            [list(names), list(self._engine.average(dict(zip(names, total, strict=True))).values()), steps]
            for names, (total, steps) in self._totals.items()
        ]

    def restore(self, state: list[Any]) -> None:
        """Restore what :meth:`state` returned, so that a resumed run reports the same means."""
        for names, total, steps in state:
            self._totals[tuple(names)] = torch.tensor(total, dtype=torch.float64, device=self._engine.device), steps
