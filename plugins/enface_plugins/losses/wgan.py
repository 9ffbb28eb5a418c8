"""The Wasserstein adversarial loss."""

from __future__ import annotations

from torch import Tensor

from enface import AdversarialLoss


class Wgan(AdversarialLoss):
    """Wasserstein-1 distance: the critic separates real from fake as far as its bounded gradient allows.

    Generator: -fake. Critic: fake - real. Something else must bound the critic's gradient: a ``gradient_penalty``
    term (WGAN-GP) or spectral norm. After Arjovsky et al., "Wasserstein generative adversarial
    networks", ICML 2017.

    Shapes: logits (N, 1, H, W) or (N,) -> the same. Range: unbounded. Unit: logits; the negated critic's side
    estimates the distance between the two distributions.
    """

    aliases = ("gan", "adversarial", "wgan_gp", "wasserstein")
    unit = "per logit"

    def forward(self, fake_logits: Tensor) -> Tensor:
        return -fake_logits

    def critic(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        return fake_logits - real_logits
