"""Schedule-free optimizers, which average weights in place of lowering the learning rate."""

from __future__ import annotations

from typing import Annotated, Any

import torch
from annotated_types import Ge, Lt

from enface import Optimizer
from enface_plugins.optimizers.packages import require

Beta = Annotated[float, Ge(0), Lt(1)]


class ScheduleFreeAdamw(Optimizer):
    """AdamW with averaged weights; use it with a constant learning rate and without ``ema``.

    Networks are validated, saved and passed to the next stage with the averaged weights. BatchNorm's statistics are
    those of the trained weights, as the authors warn. Defazio et al., "The Road Less Scheduled", NeurIPS 2024. From the
    package ``schedulefree``.

    Args:
        betas: The first sets how far gradients are taken from the average.
        weight_decay: Weight decay.
        warmup_steps: Steps of linear warm-up.
    """

    def __init__(
        self,
        *,
        betas: tuple[Annotated[float, Ge(0.01), Lt(1)], Beta] = (0.9, 0.999),
        weight_decay: Annotated[float, Ge(0)] = 0.0,
        warmup_steps: Annotated[int, Ge(0)] = 0,
    ) -> None:
        self._options: dict[str, Any] = {"betas": betas, "weight_decay": weight_decay, "warmup_steps": warmup_steps}

    def build(self, groups: list[dict[str, Any]], lr: float) -> torch.optim.Optimizer:
        """Return the optimizer."""
        package = require("schedulefree", "schedule_free_adamw")
        optimizer: torch.optim.Optimizer = package.AdamWScheduleFree(groups, lr=lr, **self._options)
        return optimizer


class ScheduleFreeSGD(Optimizer):
    """SGD with averaged weights; use it with a constant learning rate and without ``ema``.

    Defazio et al., "The Road Less Scheduled", NeurIPS 2024. From the package ``schedulefree``.

    Args:
        momentum: How far gradients are taken from the average.
        weight_decay: Weight decay.
        warmup_steps: Steps of linear warm-up.
    """

    def __init__(
        self,
        *,
        momentum: Annotated[float, Ge(0.01), Lt(1)] = 0.9,
        weight_decay: Annotated[float, Ge(0)] = 0.0,
        warmup_steps: Annotated[int, Ge(0)] = 0,
    ) -> None:
        self._options = {"momentum": momentum, "weight_decay": weight_decay, "warmup_steps": warmup_steps}

    def build(self, groups: list[dict[str, Any]], lr: float) -> torch.optim.Optimizer:
        """Return the optimizer."""
        package = require("schedulefree", "schedule_free_sgd")
        optimizer: torch.optim.Optimizer = package.SGDScheduleFree(groups, lr=lr, **self._options)
        return optimizer
