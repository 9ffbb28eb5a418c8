"""The relativistic paired adversarial loss."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import softplus

from enface import AdversarialLoss


class RelativisticPaired(AdversarialLoss):
    """Compares the logit of each target with that of its output.

    Generator: softplus(real - fake). Critic: softplus(fake - real), both of one pair. After Jolicoeur-Martineau,
    "The relativistic discriminator", ICLR 2019 (RpGAN); with ``r1`` and ``r2`` it is the loss of Huang et al., "The
    GAN is dead; long live the GAN! A modern GAN baseline", NeurIPS 2024 (R3GAN), who show that it has no mode-dropping
    minima. Their code pairs unrelated images; here target and output of a pair show the same person, and with
    ``augment`` both are changed alike.

    Shapes: logits (N, 1, H, W) or (N,) -> the same. Range: [0, inf), log 2 = 0.69 if the logits are equal. Unit:
    nats.
    """

    aliases = ("gan", "adversarial", "rpgan", "r3gan", "relativistic")
    unit = "per logit"
    non_negative = True
    paired = True

    def forward(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        return softplus(real_logits - fake_logits)

    def critic(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        return softplus(fake_logits - real_logits)
