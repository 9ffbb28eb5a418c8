"""Prodigy, which estimates its own learning rate."""

from __future__ import annotations

from typing import Annotated, Any

import torch
from annotated_types import Ge, Gt, Lt

from enface import Optimizer
from enface_plugins.optimizers.packages import require


class Prodigy(Optimizer):
    """Adam that estimates its learning rate; the recipe's ``lr`` scales the estimate and should be 1.

    Mishchenko and Defazio, "Prodigy: An Expeditiously Adaptive Parameter-Free Learner", ICML 2024. From the package
    ``prodigyopt``.

    Args:
        betas: Coefficients of the running averages.
        weight_decay: Decoupled weight decay.
        d_coef: Factor of the estimate; 0.5 to 2.
        safeguard_warmup: Set it if the learning rate has a warm-up.
        use_bias_correction: Adam's bias correction.
    """

    def __init__(
        self,
        *,
        betas: tuple[Annotated[float, Ge(0), Lt(1)], Annotated[float, Ge(0), Lt(1)]] = (0.9, 0.999),
        weight_decay: Annotated[float, Ge(0)] = 0.0,
        d_coef: Annotated[float, Gt(0)] = 1.0,
        safeguard_warmup: bool = False,
        use_bias_correction: bool = False,
    ) -> None:
        self._options: dict[str, Any] = {
            "betas": betas,
            "weight_decay": weight_decay,
            "d_coef": d_coef,
            "safeguard_warmup": safeguard_warmup,
            "use_bias_correction": use_bias_correction,
        }

    def build(self, groups: list[dict[str, Any]], lr: float) -> torch.optim.Optimizer:
        """Return the optimizer."""
        optimizer: torch.optim.Optimizer = require("prodigyopt", "prodigy").Prodigy(groups, lr=lr, **self._options)
        return optimizer
