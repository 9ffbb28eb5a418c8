"""Maps of structural similarity (SSIM) and its product over scales (MS-SSIM), shared by losses and metrics.

pytorch-msssim returns means over whole images, at one or five scales; these functions give maps and other scales.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from enface import RecipeError, px
from enface_plugins.filters import convolve

WINDOW, SIGMA = 11, 1.5
"""Size and standard deviation of the Gaussian window, in pixels."""
C1, C2 = 0.01**2, 0.03**2
"""The paper's constants for images in [0, 1]."""
FIVE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""The exponents of MS-SSIM, from the finest scale to the coarsest."""


def planes(image: Tensor) -> Tensor:
    """The layout :func:`similarity` takes: (N, C, H, W) -> (1, N * C, H, W), channels last."""
    # A CPU filters many channels together, one per vector lane; plane after plane takes ten times as long.
    return image.flatten(0, 1).unsqueeze(0).contiguous(memory_format=torch.channels_last)


def similarity(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Similarity of two batches in each window that lies inside the image.

    Wang, Bovik, Sheikh and Simoncelli, "Image quality assessment: from error visibility to structural similarity",
    IEEE TIP 2004, equation 13; contrast and structure are the product of equations 9 and 10.

    Args:
        first: In [0, 1], (1, P, H, W) as :func:`planes` returns it; each plane is compared separately.
        second: Likewise.

    Returns:
        The similarity, and the product of contrast and structure; both in [-1, 1] and (1, P, H - 10, W - 10).
    """
    # Only the sum of both variances matters, so four maps are filtered and not five.
    moments = torch.cat([first, second, first * first + second * second, first * second], 1)
    first, second, squares, product = convolve(moments, _window(moments), axes=(2, 3)).chunk(4, 1)
    means, means_squared = first * second, first * first + second * second
    contrast = (2 * (product - means) + C2) / (squares - means_squared + C2)
    return contrast * ((2 * means + C1) / (means_squared + C1)), contrast


def multi_scale_ssim(output: Tensor, target: Tensor, exponents: Sequence[float], *, floor: float = 0.0) -> Tensor:
    """MS-SSIM of images in [0, 1], (N, C, H, W) -> (N,), with one scale per exponent.

    Args:
        floor: Lower bound of each scale's similarity; below it there is no gradient, so a positive one bounds it.
    """
    first, second = planes(output), planes(target)
    factors = []
    for scale, exponent in enumerate(exponents, start=1):
        last = scale == len(exponents)
        whole, contrast = similarity(first, second)
        factors.append((whole if last else contrast).mean((0, 2, 3)).clamp(min=floor) ** exponent)
        if not last:
            first, second = _halved(first), _halved(second)
    return torch.stack(factors).prod(0).unflatten(0, output.shape[:2]).mean(1)


def exponents_for(size: tuple[int, int], scales: int | None = None) -> list[float]:
    """The exponents of MS-SSIM for images of a size, from the finest scale (default: as many scales as fit both sides).

    Raises:
        RecipeError: when the scales do not fit, naming the size they need.
    """
    fitting = sum(min(size) > _too_small(number) for number in range(1, 6))
    wanted = scales or fitting
    if not 0 < wanted <= fitting:
        needed = max(wanted, 1)
        advice = f"; {fitting} fit (scales: {fitting})" if fitting else ""
        raise RecipeError(
            f"ms_ssim at {needed} scales needs images larger than {_too_small(needed)} px; "
            f"these have {px(size)}{advice}"
        )
    first = FIVE_WEIGHTS[:wanted]
    return [weight / sum(first) * sum(FIVE_WEIGHTS) for weight in first]


def _too_small(scales: int) -> int:
    """The largest size in pixels at which the coarsest scale is still smaller than the window."""
    return (WINDOW - 1) << (scales - 1)


def _halved(image: Tensor) -> Tensor:
    """The next coarser scale: means of 2 x 2 px, padded with zeros at odd sides as in pytorch-msssim."""
    return avg_pool2d(image, 2, padding=[side % 2 for side in image.shape[2:]])


def _window(like: Tensor) -> Tensor:
    """The taps of the Gaussian window, (11,), rounded as in pytorch-msssim."""
    places = torch.arange(WINDOW, dtype=like.dtype, device=like.device) - WINDOW // 2
    taps = torch.exp(-places.square() / (2 * SIGMA**2))
    return taps / taps.sum()
