"""A mask from a file of marked pixels."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from enface import DataInfo, Mask, RecipeError, Schedulable, as_schedule
from enface_plugins.masks.inside_outside import inside_outside


class Points(Mask):
    """One weight at the pixels that a file marks, another elsewhere.

    The file's lowest value means unmarked and its highest marked; values between them are interpolated. So an array
    of 1 and 5 with the default weights is unchanged. A file of another size but the same shape is resized by area.

    Shape: (1, 1, H, W). Range: between ``inside`` and ``outside``.

    Args:
        file: A ``.npy`` array, H x W or H x W x C with equal channels, or an image file, read as grey.
        inside: Weight of marked pixels, >= 0.
        outside: Weight of all others, >= 0.
    """

    shape: Tensor

    def __init__(self, *, file: Path, inside: Schedulable = 5.0, outside: Schedulable = 1.0, data: DataInfo) -> None:
        super().__init__()
        self.inside, self.outside = as_schedule(inside), as_schedule(outside)
        # Not persistent: it follows from the recipe, so checkpoints need not store it.
        self.register_buffer("shape", _marked(file, data.size), persistent=False)

    @classmethod
    def example(cls, folder: Path) -> Mapping[str, Any]:
        """Write a file that marks a ring."""
        at = np.arange(48) - 23.5
        ring = np.abs(np.hypot(at[:, None], at[None]) - 16) < 1
        np.save(folder / "ring.npy", np.where(ring, 5, 1))
        return {"file": str(folder / "ring.npy")}

    def forward(self, step: int) -> Tensor:
        return inside_outside("points", step, self.shape, self.inside, self.outside)


def _marked(file: Path, size: tuple[int, int]) -> Tensor:
    values = _array(file) if file.suffix == ".npy" else _grey(file)
    if not np.isfinite(values).all() or values.min() < 0:
        raise RecipeError(f"mask file {file} has values that are negative or not finite; weights must be >= 0")
    height, width = values.shape
    if height * size[1] != width * size[0]:
        raise RecipeError(f"mask file {file} is {height} x {width}, but the images are {size[0]} x {size[1]}")
    if values.min() == values.max():
        raise RecipeError(f"mask file {file} marks no pixel: all its values are {values.min():g}")
    shape = torch.from_numpy((values - values.min()) / (values.max() - values.min())).float()[None, None]
    return shape if values.shape == size else functional.interpolate(shape, size, mode="area")


def _array(file: Path) -> npt.NDArray[np.float64]:
    try:
        values = np.load(file, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise RecipeError(f"mask file {file} cannot be read: {error}") from error
    if values.ndim == 3 and values.shape[2] and (values == values[..., :1]).all():
        values = values[..., 0]
    if values.ndim != 2 or not values.size or values.dtype.kind not in "biuf":
        raise RecipeError(
            f"mask file {file} is {values.dtype} {values.shape}; it must hold numbers, H x W, or H x W x C with equal "
            "channels"
        )
    return values.astype(np.float64)


def _grey(file: Path) -> npt.NDArray[np.float64]:
    try:
        with Image.open(file) as image:
            return np.asarray(image.convert("L"), np.float64)
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        raise RecipeError(f"mask file {file} cannot be read: {error}") from error
