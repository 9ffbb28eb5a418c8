"""The Wasserstein adversarial loss."""

from __future__ import annotations

from torch import Tensor

from enface import AdversarialLoss


class Wgan(AdversarialLoss):
    """Wasserstein-1: the critic pulls real and fake apart as far as its slope allows.

    Generator: -fake. Critic: fake - real. The critic's slope must be bounded by something else: a
    ``gradient_penalty`` term (WGAN-GP) or spectral norm. After Arjovsky et al., "Wasserstein generative adversarial
    networks", ICML 2017.

    Shapes: logits (N, 1, H, W) or (N,) -> the same. Range: unbounded. Unit: logits; minus the critic's side
    estimates the distance of the two distributions.
    """

    unit = "per logit"

    def forward(self, fake_logits: Tensor) -> Tensor:
        return -fake_logits

    def critic(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        return fake_logits - real_logits
