"""Differences and blurs of images, which several losses are made of."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import conv2d, pad


def forward_differences(images: Tensor) -> tuple[Tensor, Tensor]:
    """Each pixel's right neighbour minus it, and its lower neighbour minus it; 0 where there is no neighbour.

    Args:
        images: (N, C, H, W).

    Returns:
        Across and down, each (N, C, H, W), in units of the image a pixel.
    """
    across = images[..., :, 1:] - images[..., :, :-1]
    down = images[..., 1:, :] - images[..., :-1, :]
    return pad(across, (0, 1, 0, 0)), pad(down, (0, 0, 0, 1))


def gaussian_taps(sigma: float, radius: int) -> list[float]:
    """A Gaussian at the whole numbers from -radius to radius, of sum 1."""
    heights = [math.exp(-0.5 * (place / sigma) ** 2) for place in range(-radius, radius + 1)]
    return [height / sum(heights) for height in heights]


def blur(images: Tensor, taps: Sequence[float]) -> Tensor:
    """Images filtered with the same odd number of taps along rows and columns, reflected at the border.

    Args:
        images: (N, C, H, W), each side larger than half the taps.

    Returns:
        (N, C, H, W).
    """
    channels = images.shape[1]
    row = images.new_tensor(taps).expand(channels, 1, 1, -1)
    across = conv2d(_reflected(images, len(taps) // 2), row, groups=channels)
    return conv2d(across, row.mT, groups=channels)


def _reflected(images: Tensor, by: int) -> Tensor:
    # Not torch's reflection padding, which has no deterministic gradient on CUDA.
    for axis in (2, 3):
        first = images.narrow(axis, 1, by).flip(axis)
        last = images.narrow(axis, images.shape[axis] - 1 - by, by).flip(axis)
        images = torch.cat([first, images, last], axis)
    return images
