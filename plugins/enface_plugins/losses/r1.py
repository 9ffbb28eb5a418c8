"""The R1 regulariser."""

from __future__ import annotations

from torch import Tensor

from enface import CriticLoss
from enface_plugins.losses.slopes import Judge, slopes, squared_norm


class R1(CriticLoss):
    """Half the squared slope of the critic at real images: |grad D(target)|^2 / 2.

    It keeps a critic that is sure of itself from being steep, so that games near their end converge. ``weight`` is
    the papers' gamma; with ``every: 16`` it is applied lazily (Karras et al., CVPR 2020). A patch critic's logits are
    summed, so the slope, and with it a sensible gamma, grows with their number. After Mescheder et al., "Which
    training methods for GANs do actually converge?", ICML 2018.

    Shape: (N,). Range: [0, inf). Unit: squared logits per squared unit of the image.
    """

    unit = "per image"
    non_negative = True
    uncompilable_reason = "it differentiates the critic twice, which torch.compile does not support"

    def critic(self, real_image: Tensor, judge: Judge) -> Tensor:
        return squared_norm(slopes(judge, real_image)) / 2
