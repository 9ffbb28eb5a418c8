"""Hinge adversarial loss."""

from __future__ import annotations

from torch import Tensor

from enface import AdversarialLoss


class Hinge(AdversarialLoss):
    """Hinge adversarial loss: images that the critic classifies with a margin of 1 do not train it further.

    Generator: -fake. Critic: max(0, 1 - real) + max(0, 1 + fake). After Lim and Ye, "Geometric GAN", 2017,
    and Miyato et al., "Spectral normalization for generative adversarial networks", ICLR 2018.

    Shapes: logits (N, 1, H, W) or (N,) -> the same. Range: the generator's side is unbounded, the critic's is
    [0, inf): 2 for a critic that outputs 0, 0 for one that is confident and right.
    """

    aliases = ("gan", "adversarial", "hinge_gan")
    unit = "per logit"

    def forward(self, fake_logits: Tensor) -> Tensor:
        return -fake_logits

    def critic(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        return (1 - real_logits).relu() + (1 + fake_logits).relu()
