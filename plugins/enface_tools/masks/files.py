"""Masks as files: an array that the ``points`` mask reads, and beside it a picture to judge it by."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from enface.errors import EnfaceError

PICTURE = 480
TINT = np.array([255, 40, 40], np.float32)
STRENGTH = 0.6


def save_mask(weights: npt.NDArray[np.float32], backdrop: npt.NDArray[np.uint8], path: Path) -> Path:
    """Write a mask, and beside it a picture of the backdrop with the marked pixels tinted red.

    The file is int8 where all weights are whole numbers up to 127, else float32. The picture has the same name
    with ``.png``; each pixel of the mask is a square there, and the tint is the stronger the further the weight
    lies above the lowest one.

    Args:
        weights: float32 (H, W), >= 0.
        backdrop: uint8 (H, W, 3), as the mean of some faces.
        path: The file to write; its name ends in ``.npy``.

    Returns:
        The picture's path.

    Raises:
        EnfaceError: when the name does not end in ``.npy``, or a file cannot be written, naming it.
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


def mean_image(images: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """The mean of some images (N, 3, H, W), as a picture (H, W, 3) to see a mask on."""
    return np.ascontiguousarray(images.mean(axis=0).round().astype(np.uint8).transpose(1, 2, 0))


def check_mask_path(path: Path) -> None:
    """Raises EnfaceError when no mask can be written there: the name does not end in ``.npy``, or is a folder's."""
    if path.suffix != ".npy":
        raise EnfaceError(f"mask file {path}: the name of a mask file must end in .npy")
    if path.is_dir():
        raise EnfaceError(f"mask file {path}: is a folder")


def _smallest(weights: npt.NDArray[np.float32]) -> npt.NDArray[np.int8] | npt.NDArray[np.float32]:
    whole = bool((weights == np.round(weights)).all() and weights.max() <= 127)
    return weights.astype(np.int8) if whole else weights.astype(np.float32)


def _overlay(weights: npt.NDArray[np.float32], backdrop: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    span = float(weights.max() - weights.min())
    share = STRENGTH * (weights - weights.min())[..., None] / (span or 1.0)
    mixed = (backdrop * (1 - share) + TINT * share).round().astype(np.uint8)
    times = max(1, round(PICTURE / max(weights.shape)))
    picture: npt.NDArray[np.uint8] = mixed.repeat(times, axis=0).repeat(times, axis=1)
    return picture
