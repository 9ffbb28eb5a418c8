"""The least-squares adversarial loss."""

from __future__ import annotations

from torch import Tensor

from enface import AdversarialLoss


class Lsgan(AdversarialLoss):
    """Least squares: squared distance of the logits from the labels 1 for real and 0 for fake.

    Generator: (fake - 1)^2 / 2. Critic: ((real - 1)^2 + fake^2) / 2. After Mao et al., "Least squares generative
    adversarial networks", ICCV 2017, equation 9.

    Shapes: logits (N, 1, H, W) or (N,) -> the same. Range: [0, inf); a critic that outputs 0 gives 0.5, as does its
    generator. Unit: squared logits.
    """

    aliases = ("gan", "adversarial", "least_squares")
    unit = "per logit"
    non_negative = True

    def forward(self, fake_logits: Tensor) -> Tensor:
        return (fake_logits - 1).square() / 2

    def critic(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        return ((real_logits - 1).square() + fake_logits.square()) / 2
