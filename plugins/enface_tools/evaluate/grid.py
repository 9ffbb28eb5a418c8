"""Image grids."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

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


def to_pixels(images: Tensor) -> Pixels:
    """Images (N, 3, H, W) in [0, 1] as uint8 (N, H, W, 3), rounded half up."""
    pixels: Pixels = images.mul(255).add(0.5).clamp(0, 255).permute(0, 2, 3, 1).to("cpu", torch.uint8).numpy()
    return pixels
