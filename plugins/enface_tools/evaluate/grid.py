"""Image grids."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from enface.data.images import to_depth

Pixels = npt.NDArray[np.uint8]


def grid(rows: Sequence[Sequence[Pixels] | Pixels], *, gap: int = 0, border: int = 0) -> Pixels:
    """Rows of images of one size as one image, on black.

    Args:
        rows: Images uint8 (H, W, 3). A short row is filled with black.
        gap: Pixels between two images.
        border: Pixels around all of them.

    Returns:
        uint8 (H', W', 3).
    """
    height, width = rows[0][0].shape[:2]
    tall, wide = height + gap, width + gap
    columns = max(map(len, rows))
    canvas = np.zeros((len(rows) * tall - gap + 2 * border, columns * wide - gap + 2 * border, 3), np.uint8)
    for row, images in enumerate(rows):
        for column, image in enumerate(images):
            top, left = border + row * tall, border + column * wide
            canvas[top : top + height, left : left + width] = image
    return canvas


def shown(images: Tensor) -> Tensor:
    """Images (N, C, H, W) as a picture shows them, (N, 3, H, W): the first three planes, or the first one as grey."""
    return images[:, :3] if images.shape[1] > 2 else images[:, :1].expand(-1, 3, -1, -1)


def displayed(images: npt.NDArray[np.uint8 | np.uint16]) -> Pixels:
    """Images (..., C, H, W) of a pack as a picture shows them, uint8 (..., 3, H, W)."""
    planes = images.shape[-3]
    if planes < 3:
        images = np.broadcast_to(images[..., :1, :, :], (*images.shape[:-3], 3, *images.shape[-2:]))
    return to_depth(images[..., :3, :, :], 8).astype(np.uint8, copy=False)


def to_pixels(images: Tensor) -> Pixels:
    """Images (N, C, H, W) in [0, 1] as uint8 (N, H, W, C), rounded half up."""
    pixels: Pixels = to_samples(images, 8)
    return pixels


def to_samples(images: Tensor, depth: int) -> npt.NDArray[Any]:
    """Images (N, C, H, W) in [0, 1] as uint8 or, for a depth of 16 bits, uint16 (N, H, W, C), rounded half up."""
    levels, kind = 2**depth - 1, torch.uint8 if depth == 8 else torch.uint16
    samples: npt.NDArray[Any]
    samples = images.mul(levels).add(0.5).clamp(0, levels).permute(0, 2, 3, 1).to("cpu", kind).numpy()
    return samples
