"""Differences and blurs of images, shared by losses and metrics."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import conv2d, pad


def forward_differences(images: Tensor) -> tuple[Tensor, Tensor]:
    """The right neighbour of each pixel minus the pixel, and the lower one likewise; 0 at the last column and row.

    Args:
        images: (N, C, H, W).

    Returns:
        Across and down, each (N, C, H, W), in units of the image per pixel.
    """
    across = images[..., :, 1:] - images[..., :, :-1]
    down = images[..., 1:, :] - images[..., :-1, :]
    return pad(across, (0, 1, 0, 0)), pad(down, (0, 0, 0, 1))


def gaussian_taps(sigma: float, radius: int) -> list[float]:
    """A Gaussian at the integers from -radius to radius, of sum 1."""
    heights = [math.exp(-0.5 * (place / sigma) ** 2) for place in range(-radius, radius + 1)]
    return [height / sum(heights) for height in heights]


def blur(images: Tensor, taps: Sequence[float]) -> Tensor:
    """Filter images with the same odd number of taps along rows and columns, reflected at the border.

    Args:
        images: (N, C, H, W), each side larger than half the taps.

    Returns:
        (N, C, H, W).
    """
    return convolve(_reflected(images, len(taps) // 2), images.new_tensor(taps))


def convolve(images: Tensor, taps: Tensor, axes: Sequence[int] = (3, 2)) -> Tensor:
    """Filter images along each axis in turn, without padding.

    Args:
        images: (N, C, H, W).
        taps: (K,).
        axes: Their order, which changes the rounding only.

    Returns:
        (N, C, H - K + 1, W - K + 1).
    """
    channels = images.shape[1]
    row = taps.expand(channels, 1, 1, -1)
    for axis in axes:
        images = conv2d(images, row if axis == 3 else row.mT, groups=channels)
    return images


def _reflected(images: Tensor, by: int) -> Tensor:
    # Not torch's reflection padding, which has no deterministic gradient on CUDA.
    for axis in (2, 3):
        first = images.narrow(axis, 1, by).flip(axis)
        last = images.narrow(axis, images.shape[axis] - 1 - by, by).flip(axis)
        images = torch.cat([first, images, last], axis)
    return images
