"""Structural dissimilarity at several scales."""

from __future__ import annotations

from typing import Annotated

from annotated_types import Ge, Le
from torch import Tensor

from enface import DataInfo, Loss
from enface_plugins.ssim_maps import exponents_for, multi_scale_ssim

FLOOR = 1e-4


class MsSsim(Loss):
    """Structural dissimilarity at several scales, 1 - MS-SSIM.

    MS-SSIM is the metric of the same name on images rescaled to [0, 1]: Wang, Simoncelli and Bovik, "Multi-scale
    structural similarity for image quality assessment", Asilomar 2003, with the exponents rescaled when fewer than
    five scales fit. As a loss combined with L1: Zhao, Gallo, Frosio and Kautz, "Loss functions for image restoration
    with neural networks", IEEE TCI 2017.

    A scale whose similarity is below 1e-4 counts as 1e-4, without gradient, whereas the metric clamps at 0: a factor
    of 0 would cancel the gradient of all other scales, and near 0 the slope of a power is unbounded. So images
    opposite to the target at every scale learn nothing from this term alone.

    Shapes: output, target (N, C, H, W) in [-1, 1] -> (N,). Range: [0, 1], 0 for equal images. Unit: 1 is no
    structure in common at some scale. A mask needs ``mask_on: images``.

    Args:
        scales: Number of scales (default: as many as fit the images). Five need sides larger than 160 px.

    Raises:
        RecipeError: when the scales do not fit the images, naming the size they need.
    """

    unit = "per image"
    distance = True
    non_negative = True

    def __init__(self, *, data: DataInfo, scales: Annotated[int, Ge(1), Le(5)] | None = None) -> None:
        super().__init__()
        self.exponents = exponents_for(data.size, scales)

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        return 1 - multi_scale_ssim((output + 1) / 2, (target + 1) / 2, self.exponents, floor=FLOOR)
