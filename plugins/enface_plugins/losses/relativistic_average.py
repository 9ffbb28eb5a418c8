"""The relativistic average adversarial loss."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import softplus

from enface import AdversarialLoss


class RelativisticAverage(AdversarialLoss):
    """How much more real an image looks than the others on average.

    With r = real - mean(fake) and f = fake - mean(real), generator: softplus(r) + softplus(-f). Critic:
    softplus(-r) + softplus(f). The means are over the batch and all positions. After Jolicoeur-Martineau, "The
    relativistic discriminator: a key element missing from standard GAN", ICLR 2019 (RaSGAN; ESRGAN's loss up to a
    factor of 2).

    Shapes: logits (N, 1, H, W) or (N,) -> the same. Range: [0, inf), 2 log 2 = 1.39 where all logits are equal.
    Unit: nats. An image's number depends on the others of its batch.
    """

    unit = "per logit"
    non_negative = True
    per_image = False

    def forward(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        return self._sum(fake_logits, real_logits)

    def critic(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        return self._sum(real_logits, fake_logits)

    def _sum(self, better: Tensor, worse: Tensor) -> Tensor:
        return softplus(worse.mean() - better) + softplus(worse - better.mean())
