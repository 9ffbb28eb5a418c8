"""Absolute error between the output and its mirror image."""

from __future__ import annotations

from torch import Tensor

from enface import Loss


class Symmetry(Loss):
    """Absolute error between the output and its left-right mirror image; it uses no target.

    For outputs that show centred, frontal faces. Light from one side is an asymmetry too and is penalised. After
    Huang, Zhang, Li and He, "Beyond face rotation: global and local perception GAN for
    photorealistic and identity preserving frontal view synthesis", ICCV 2017, whose mean over the left half equals
    this mean over both.

    Shapes: output (N, C, H, W) -> (N, C, H, W), itself symmetric. Range: [0, 2] for images in [-1, 1]. Unit: the
    image's.
    """

    unit = "per pixel"
    non_negative = True

    def forward(self, output: Tensor) -> Tensor:
        return (output - output.flip(-1)).abs()
