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
    mean logits, this batch's included; it helps if there are few training images. After Tseng et al., "Regularizing
    generative adversarial networks under limited data", CVPR 2021 (weights 0.01 to 0.3), as its published code
    computes it (github.com/google/lecam-gan): one-sided, with the averages of ``stylegan2/lecam_loss.py``, whose start
    at 0 is corrected by dividing by 1 - decay^updates, so that the first ones are the first batch's. The variant
    for BigGAN there decays by 0.9 and begins at step 1000; that is ``decay: 0.9`` and the term's ``start_at: 1000``.

    A critic of several scales has averages for each. They are saved in checkpoints. With ``accumulate`` or several
    processes, the value of a part includes that part's own mean logits, and the averages that are kept are those of the
    whole batch.

    Shapes: logits (N, 1, H, W) or (N,) -> the same. Range: [0, inf). Unit: squared logits.

    Args:
        decay: Decay of the running averages at each update of the critic at which the term is active.
    """

    unit = "per logit"
    non_negative = True
    per_image = False
    stateful = True

    sums: Tensor

    def __init__(self, *, decay: Annotated[float, Ge(0), Lt(1)] = 0.99) -> None:
        super().__init__()
        self.decay = decay
        # Decaying sums of the mean logits of real and fake images, and of 1.
        self.register_buffer("sums", torch.zeros(3))

    @property
    def averages(self) -> Tensor:
        """The running averages of the mean logits of real and fake images: (2,)."""
        return self.sums[:2] / self.sums[2]

    def critic(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        real, fake = real_logits.detach().mean(), fake_logits.detach().mean()
        self.sums.lerp_(torch.stack([real, fake, torch.ones_like(real)]), 1 - self.decay)
        real, fake = self.averages
        return (real_logits - fake).relu().square() + (real - fake_logits).relu().square()
