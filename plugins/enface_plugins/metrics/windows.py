"""Structural similarity of the windows of two images, which SSIM and MS-SSIM both are means of."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, conv2d

WINDOW, SIGMA = 11, 1.5
"""Of the Gaussian window, in pixels."""
C1, C2 = 0.01**2, 0.03**2
"""The paper's constants for images in [0, 1]."""


def planes(image: Tensor) -> Tensor:
    """A batch as :func:`similarity` has it: (N, C, H, W) -> (1, N * C, H, W), the planes of a pixel side by side."""
    # A CPU filters many planes at once, one in each lane; filtering plane after plane it takes ten times as long.
    return image.flatten(0, 1).unsqueeze(0).contiguous(memory_format=torch.channels_last)


def similarity(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """How alike the windows of two batches are, at each place where the window fits.

    Wang, Bovik, Sheikh and Simoncelli, "Image quality assessment: from error visibility to structural similarity",
    IEEE TIP 2004, equation 13; contrast and structure are equation 9 and 10's product.

    Args:
        first: In [0, 1], (1, P, H, W), each plane by itself; :func:`planes` has made it. ``second`` likewise.

    Returns:
        The similarity, and that of contrast and structure alone, each in [-1, 1] and (1, P, H - 10, W - 10).
    """
    # The sum of both variances is all that counts, so four maps are filtered and not five.
    moments = torch.cat([first, second, first * first + second * second, first * second], 1)
    first, second, squares, product = _blurred(moments).chunk(4, 1)
    means, means_squared = first * second, first * first + second * second
    contrast = (2 * (product - means) + C2) / (squares - means_squared + C2)
    return contrast * ((2 * means + C1) / (means_squared + C1)), contrast


def halved(image: Tensor) -> Tensor:
    """The next coarser scale: means of 2 x 2 px, with zeros beside an odd side as pytorch-msssim has them."""
    return avg_pool2d(image, 2, padding=[side % 2 for side in image.shape[2:]])


def _blurred(maps: Tensor) -> Tensor:
    places = torch.arange(WINDOW, dtype=maps.dtype, device=maps.device) - WINDOW // 2
    taps = torch.exp(-places.square() / (2 * SIGMA**2))
    taps = taps / taps.sum()
    for shape in ((1, 1, WINDOW, 1), (1, 1, 1, WINDOW)):
        maps = conv2d(maps, taps.view(shape).expand(maps.shape[1], -1, -1, -1).contiguous(), groups=maps.shape[1])
    return maps
