"""Feature matching."""

from __future__ import annotations

import torch
from torch import Tensor

from enface import Loss


class FeatureMatching(Loss):
    """Mean absolute difference between the critic's features of output and target, averaged over layers.

    Its term is ``against`` a discriminator that provides features; it trains the generator only. After Wang et al.,
    "High-resolution image synthesis and semantic manipulation with conditional GANs" (pix2pixHD), CVPR 2018,
    equation 4, with the mean over layers instead of the sum. With ``augment``, target and output are changed alike.

    Shapes: features, tuples of (N, C, h, w) -> (N,). Range: [0, inf), 0 for equal images. Unit: the critic's
    activations.
    """

    aliases = ("fm", "feat", "gan_feat")
    unit = "per image"
    distance = True
    non_negative = True
    paired = True

    def forward(self, real_features: tuple[Tensor, ...], fake_features: tuple[Tensor, ...]) -> Tensor:
        layers = zip(real_features, fake_features, strict=True)
        return torch.stack([(fake - real.detach()).abs().flatten(1).mean(1) for real, fake in layers]).mean(0)
