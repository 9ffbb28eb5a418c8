"""The images of a pack: the middle, planes and depth; and the natural order of names."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8 | np.uint16]
"""uint8, or uint16 for images of 16 bits."""
Size = tuple[int, int]


def center_crop(images: Any, size: Size) -> Any:
    """Return the middle of images (..., H, W), an array or a tensor."""
    top, left = ((side - inner) // 2 for side, inner in zip(images.shape[-2:], size, strict=True))
    return images[..., top : top + size[0], left : left + size[1]]


def px(size: Size) -> str:
    """Return height and width as text for a message: ``96``, or ``64 x 96``."""
    return " x ".join(map(str, dict.fromkeys(size)))


def planes_of(images: Any, count: int) -> Any:
    """Return ``count`` planes of images (..., C, H, W), an array or, with C >= ``count``, a tensor of whole numbers.

    One plane of three is the luma (ITU-R BT.601, as Pillow's mode ``L``), three of one repeat it; otherwise the first
    planes, and zeros where there are no more.
    """
    planes = images.shape[-3]
    if (planes, count) == (3, 1):
        wide = images.astype(np.int64) if isinstance(images, np.ndarray) else images.long()
        luma = 19595 * wide[..., :1, :, :] + 38470 * wide[..., 1:2, :, :] + 7471 * wide[..., 2:, :, :] + 32768 >> 16
        return luma.astype(images.dtype) if isinstance(images, np.ndarray) else luma.to(images.dtype)
    if planes >= count:
        return images if planes == count else images[..., :count, :, :]
    if (planes, count) == (1, 3):
        return np.repeat(images, 3, axis=-3)
    return np.pad(images, [*[(0, 0)] * (images.ndim - 3), (0, count - planes), (0, 0), (0, 0)])


def to_depth(images: Pixels, depth: int) -> Pixels:
    """Return samples with 8 or 16 bits, rounded to the nearest (65535 / 255 is 257)."""
    if images.dtype.itemsize * 8 == depth:
        return images
    return images.astype(np.uint16) * 257 if depth == 16 else ((images.astype(np.uint32) + 128) // 257).astype(np.uint8)


def natural_key(value: object) -> tuple[bool, float, list[str | int], str]:
    """Sorting key of natural order: numbers by value, then texts, in which ``2`` precedes ``10``."""
    if isinstance(value, int | float | np.number):
        return False, float(value), [], ""
    # Text and digits alternate in what split returns, so like is always compared with like.
    text = str(value)
    parts = re.split(r"(\d+)", text)
    return True, 0.0, [int(part) if index % 2 else part for index, part in enumerate(parts)], text
