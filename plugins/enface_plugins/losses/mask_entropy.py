"""Entropy of the masks that blend images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from torch import Tensor

from enface import Loss
from enface_plugins.flows import HINTS

LEAST = 1e-6
"""Weight below which the logarithm is constant, so that the gradient is finite."""


class MaskEntropy(Loss):
    """Shannon entropy of a pixel's masks, -sum_k m_k log m_k: 0 if one image alone makes the pixel.

    Pixels that are a blend of several images are ghosts or blurred, unless the images agree; a small weight makes the
    generator choose. Entropy minimisation: Grandvalet and Bengio, "Semi-supervised learning by entropy minimization",
    NeurIPS 2004.

    Shapes: masks (N, K, H, W), >= 0 with sum 1 -> (N, 1, H, W). Range: [0, log K]. Unit: nats.
    """

    unit = "per pixel"
    non_negative = True
    hints: ClassVar[Mapping[str, str]] = HINTS

    def forward(self, masks: Tensor) -> Tensor:
        return -(masks * masks.clamp_min(LEAST).log()).sum(1, keepdim=True).clamp_max(0)
