"""Mask files: an array that the ``points`` mask reads, and a picture of it for inspection."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from enface.errors import EnfaceError
from enface_tools.evaluate.grid import displayed

# Side of the picture in pixels, at least.
PICTURE_SIZE = 480
TINT = np.array([255, 40, 40], np.float32)
TINT_OPACITY = 0.6


def save_mask(weights: npt.NDArray[np.float32], backdrop: npt.NDArray[np.uint8], path: Path) -> Path:
    """Write a mask and a picture of the backdrop with the marked pixels tinted red.

    The mask is stored as int8 if all weights are whole numbers up to 127, else as float32. The picture has the same
    name with ``.png``; each mask pixel is a square in it, and the tint grows with the weight above the lowest one.

    Args:
        weights: float32 (H, W), >= 0.
        backdrop: uint8 (H, W, 3), for instance a mean face.
        path: The ``.npy`` file to write.

    Returns:
        The picture's path.

    Raises:
        EnfaceError: if the name does not end in ``.npy``, or a file cannot be written, naming it.
    """
    assert weights.ndim == 2
    assert backdrop.shape == (*weights.shape, 3)
    check_mask_path(path)
    picture = path.with_suffix(".png")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, _smallest(weights), allow_pickle=False)
        Image.fromarray(_overlay(weights, backdrop)).save(picture)
    except OSError as error:
        raise EnfaceError(f"cannot write {error.filename or path}: {error.strerror or error}") from error
    return picture


def mean_image(images: npt.NDArray[np.uint8 | np.uint16]) -> npt.NDArray[np.uint8]:
    """Mean of images (N, C, H, W), as a backdrop (H, W, 3)."""
    return np.ascontiguousarray(displayed(images).mean(axis=0).round().astype(np.uint8).transpose(1, 2, 0))


def check_mask_path(path: Path) -> None:
    """Raise EnfaceError if ``path`` is a folder or does not end in ``.npy``."""
    if path.suffix != ".npy":
        raise EnfaceError(f"mask file {path}: its name must end in .npy")
    if path.is_dir():
        raise EnfaceError(f"mask file {path} is a folder; name a file")


def _smallest(weights: npt.NDArray[np.float32]) -> npt.NDArray[np.int8] | npt.NDArray[np.float32]:
    whole = bool((weights == np.round(weights)).all() and weights.max() <= 127)
    return weights.astype(np.int8) if whole else weights.astype(np.float32)


def _overlay(weights: npt.NDArray[np.float32], backdrop: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    span = float(weights.max() - weights.min())
    opacity = TINT_OPACITY * (weights - weights.min())[..., None] / (span or 1.0)
    blended = (backdrop * (1 - opacity) + TINT * opacity).round().astype(np.uint8)
    scale = max(1, round(PICTURE_SIZE / max(weights.shape)))
    picture: npt.NDArray[np.uint8] = blended.repeat(scale, axis=0).repeat(scale, axis=1)
    return picture
