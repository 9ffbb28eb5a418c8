"""Natural order of names, and resizing of images and region maps."""

from __future__ import annotations

import re

import numpy as np
import numpy.typing as npt
from PIL import Image


def natural_key(value: object) -> tuple[bool, float, list[str | int], str]:
    """Sorting key of natural order: numbers by value, then texts, in which ``2`` precedes ``10``."""
    if isinstance(value, int | float | np.number):
        return False, float(value), [], ""
    # Text and digits alternate in what split returns, so like is always compared with like.
    text = str(value)
    parts = re.split(r"(\d+)", text)
    return True, 0.0, [int(part) if index % 2 else part for index, part in enumerate(parts)], text


def resized(image: npt.NDArray[np.uint8], size: int) -> npt.NDArray[np.uint8]:
    """Return an image (H, W, 3) resized to size x size by Lanczos interpolation, without keeping its aspect ratio."""
    if image.shape[:2] == (size, size):
        return image
    return np.asarray(Image.fromarray(image).resize((size, size), Image.Resampling.LANCZOS))


def resized_map(regions: npt.NDArray[np.uint8] | None, size: int) -> npt.NDArray[np.uint8]:
    """Return a region map (H, W) resized to size x size by nearest neighbour; all background (0) for None."""
    if regions is None:
        return np.zeros((size, size), np.uint8)
    if regions.shape == (size, size):
        return regions
    return np.asarray(Image.fromarray(regions).resize((size, size), Image.Resampling.NEAREST))
