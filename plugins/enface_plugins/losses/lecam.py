"""The LeCam regulariser."""

from __future__ import annotations

from typing import Annotated

import torch
from annotated_types import Ge, Lt
from torch import Tensor

from enface import CriticLoss


class Lecam(CriticLoss):
    """Keeps the critic's logits of real and fake images close to the running average of the other's.

    max(0, real - a_fake)^2 + max(0, a_real - fake)^2, where a_real and a_fake are running averages of the critic's
    mean logits; it helps if there are few training images. After Tseng et al., "Regularizing generative adversarial
    networks under limited data", CVPR 2021 (weights 0.01 to 0.3), with the one-sided form of its published code.
    The averages are saved in checkpoints.

    Shapes: logits (N, 1, H, W) or (N,) -> the same. Range: [0, inf). Unit: squared logits.

    Args:
        decay: Decay of the running averages per step.
    """

    unit = "per logit"
    non_negative = True
    per_image = False
    stateful = True

    averages: Tensor

    def __init__(self, *, decay: Annotated[float, Ge(0), Lt(1)] = 0.99) -> None:
        super().__init__()
        self.decay = decay
        self.register_buffer("averages", torch.zeros(2))

    def critic(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        now = torch.stack([real_logits.detach().mean(), fake_logits.detach().mean()])
        self.averages.lerp_(now, 1 - self.decay)
        real, fake = self.averages.clone()
        return (real_logits - fake).relu().square() + (real - fake_logits).relu().square()
