"""The relativistic average adversarial loss."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import softplus

from enface import AdversarialLoss


class RelativisticAverage(AdversarialLoss):
    """Compares each logit with the mean logit of the opposite class, real or fake.

    With r = real - mean(fake) and f = fake - mean(real), generator: softplus(r) + softplus(-f). Critic:
    softplus(-r) + softplus(f). The means are over the batch and all positions. After Jolicoeur-Martineau, "The
    relativistic discriminator: a key element missing from standard GAN", ICLR 2019 (RaSGAN).

    Value and gradients are twice those of the author's code (github.com/AlexiaJM/RelativisticGAN), which halves the
    sum. ESRGAN's in BasicSR has half the value and half the generator's gradient, too, but holds the means constant
    while it trains the critic; summed over the batch, this critic's gradient is twice that again, so up to four times
    BasicSR's. To compare with either, set ``weight`` and ``critic_weight`` accordingly.

    Shapes: logits (N, 1, H, W) or (N,) -> the same. Range: [0, inf), 2 log 2 = 1.39 if all logits are equal.
    Unit: nats. An image's value depends on the others in its part of the batch (``accumulate``, processes).
    """

    aliases = ("gan", "adversarial", "ragan", "relativistic")
    unit = "per logit"
    non_negative = True
    per_image = False

    def forward(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        return self._sum(fake_logits, real_logits)

    def critic(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        return self._sum(real_logits, fake_logits)

    def _sum(self, higher: Tensor, lower: Tensor) -> Tensor:
        return softplus(lower.mean() - higher) + softplus(lower - higher.mean())
