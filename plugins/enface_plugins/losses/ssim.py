"""Structural dissimilarity."""

from __future__ import annotations

import torch
from torch import Tensor

from enface import DataInfo, Loss
from enface_plugins.filters import blur, gaussian_taps
from enface_plugins.planes import require_side
from enface_plugins.ssim_maps import C1, C2, SIGMA, WINDOW

TAPS = gaussian_taps(SIGMA, WINDOW // 2)


class SSIM(Loss):
    """Structural dissimilarity, 1 - SSIM, at every pixel.

    SSIM is Wang, Bovik, Sheikh and Simoncelli, "Image quality assessment: from error visibility to structural
    similarity", IEEE TIP 2004: Gaussian window of 11 px, sigma 1.5, K 0.01 and 0.03, on each plane
    separately, of images rescaled to [0, 1].

    The map has the size of the image, so that masks fit it: within 5 px of the border the window sees the image
    reflected (kornia's ``padding="same"``). The metric of the same name skips these pixels; over all others the mean
    is 1 minus the metric.

    Shapes: output, target (N, C, H, W) in [-1, 1] -> (N, C, H, W). Range: [0, 2], 0 for equal windows. Unit: 1 is
    no structure in common.

    Raises:
        RecipeError: when a side of the images is smaller than the window.
    """

    unit = "per pixel"
    distance = True
    non_negative = True

    def __init__(self, *, data: DataInfo) -> None:
        super().__init__()
        require_side("ssim", data, WINDOW)

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        # SSIM is luminance times structure, and 1 minus either is a square of the difference over a sum of squares.
        # Computed from these, the error stays precise and positive for nearly equal images; computed as 1 - SSIM it
        # would drown in the rounding of float32 (up to 5e-4, of either sign).
        x, y, difference = (output + 1) / 2, (target + 1) / 2, (output - target) / 2
        moments = (x, y, difference, x.square() + y.square(), difference.square())
        x, y, difference, squares, difference_squared = blur(torch.cat(moments, 1), TAPS).chunk(5, 1)
        means_squared = x.square() + y.square()
        luminance_error = difference.square() / (means_squared + C1)
        structure_error = (difference_squared - difference.square()) / (squares - means_squared + C2)
        return luminance_error + structure_error - luminance_error * structure_error
