"""The R2 regulariser."""

from __future__ import annotations

from torch import Tensor

from enface import CriticLoss
from enface_plugins.losses.slopes import Judge, slopes, squared_norm


class R2(CriticLoss):
    """Half the squared slope of the critic at fake images: |grad D(output)|^2 / 2.

    The counterpart of ``r1``; the R3GAN recipe takes both. After Mescheder et al., ICML 2018, and Huang et al.,
    "The GAN is dead; long live the GAN!", NeurIPS 2024.

    Shape: (N,). Range: [0, inf). Unit: squared logits per squared unit of the image.
    """

    unit = "per image"
    non_negative = True
    uncompilable_reason = "it differentiates the critic twice, which torch.compile does not support"

    def critic(self, fake_image: Tensor, judge: Judge) -> Tensor:
        return squared_norm(slopes(judge, fake_image)) / 2
