"""The images of a pack: fitting, resizing, planes and depth; and the natural order of names."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from enface.errors import DataError

if TYPE_CHECKING:
    from enface.recipe.models import DataModel, Fit

Pixels = npt.NDArray[np.uint8 | np.uint16]
"""uint8, or uint16 for images of 16 bits."""
Size = tuple[int, int]


@dataclass(frozen=True)
class ImageFormat:
    """Shape and samples of a pack's images, and how images of other shapes are fitted.

    Attributes:
        size: Height and width.
        channels: Numbers of planes that source and target images may have; a pack has the largest.
        depth: Bits per sample, 8 or 16.
        fit: ``crop`` keeps the largest centred rectangle of the wanted shape, ``pad`` keeps the whole image and fills
            the rest, ``stretch`` ignores the shape.
        fill: Grey level of the padding, from 0 (black) to 1.
    """

    size: Size
    channels: tuple[int, ...] = (3,)
    depth: int = 8
    fit: Fit = "crop"
    fill: float = 0.0

    @classmethod
    def of(cls, data: DataModel) -> ImageFormat:
        """Return the format of a recipe's pack."""
        channels = tuple(sorted({data.channels.source, data.channels.target}))
        return cls(data.packed_size, channels, data.depth, data.fit, data.fill)

    @property
    def planes(self) -> int:
        """Number of planes in the pack."""
        return max(self.channels)

    def image(self, image: Pixels, name: str = "") -> Any:
        """Return an image (H, W, C) of any size and depth as the pack holds it.

        Raises DataError if it has another type or number of planes; names it.
        """
        planes = (*self.channels, 3) if self.planes == 1 else self.channels
        if image.dtype not in (np.uint8, np.uint16) or image.ndim != 3 or image.shape[2] not in planes:
            wanted = f"(H, W, {' or '.join(map(str, self.channels))})"
            raise DataError(f"image {name} is {image.dtype} {image.shape}; uint8 or uint16 {wanted} is needed")
        samples = to_depth(planes_of(image.transpose(2, 0, 1), self.planes), self.depth)
        return self._fitted(samples, _lanczos, round(self.fill * (2**self.depth - 1))).transpose(1, 2, 0)

    def regions(self, regions: npt.NDArray[np.uint8] | None) -> npt.NDArray[np.uint8]:
        """Return a region map (H, W) fitted like its image, by nearest neighbour; all background (0) for None."""
        return np.zeros(self.size, np.uint8) if regions is None else self._fitted(regions, _resized, 0)

    def lost(self, size: Size) -> float:
        """Return the share of an image of this size that is cropped, or of the result that is padding.

        For ``stretch`` it is the change of the aspect ratio; always 0 if the image has the wanted shape.
        """
        outer, shape = (self.size, size) if self.fit == "pad" else (size, self.size)
        return 1 - math.prod(_largest_within(outer, shape)) / math.prod(outer)

    def _fitted(self, pixels: Any, resize: Callable[[Any, Size], Any], fill: int) -> Any:
        """Fit pixels (..., H, W)."""
        size = pixels.shape[-2:]
        if self.fit == "pad":
            canvas = np.full((*pixels.shape[:-2], *self.size), fill, pixels.dtype)
            inside = center_crop(canvas, _largest_within(self.size, size))
            inside[...] = resize(pixels, inside.shape[-2:])
            return canvas
        pixels = center_crop(pixels, _largest_within(size, self.size)) if self.fit == "crop" else pixels
        return pixels if pixels.shape[-2:] == self.size else resize(pixels, self.size)


def _largest_within(outer: Size, shape: Size) -> Size:
    """Return the largest height and width within ``outer`` that have the aspect ratio of ``shape``, to the pixel."""
    (tall, wide), (height, width) = outer, shape
    if wide * height > tall * width:
        return tall, max(1, round(tall * width / height))
    return max(1, round(wide * height / width)), wide


def center_crop(images: Any, size: Size) -> Any:
    """Return the middle of images (..., H, W), an array or a tensor."""
    top, left = ((side - inner) // 2 for side, inner in zip(images.shape[-2:], size, strict=True))
    return images[..., top : top + size[0], left : left + size[1]]


def _lanczos(image: Pixels, size: Size) -> Any:
    """Resize an image (C, H, W) with antialiasing."""
    if image.dtype == np.uint8 and len(image) == 3:
        return _resized(image.transpose(1, 2, 0), size, Image.Resampling.LANCZOS).transpose(2, 0, 1)
    planes = [_resized(plane.astype(np.float32), size, Image.Resampling.LANCZOS) for plane in image]
    return np.floor(np.stack(planes) + 0.5).clip(0, np.iinfo(image.dtype).max).astype(image.dtype)


def _resized(pixels: Any, size: Size, filter_: Image.Resampling = Image.Resampling.NEAREST) -> Any:
    return np.asarray(Image.fromarray(pixels).resize(size[::-1], filter_))


def px(size: Size) -> str:
    """Return height and width as text for a message: ``96``, or ``64 x 96``."""
    return " x ".join(map(str, dict.fromkeys(size)))


def planes_of(images: Any, count: int) -> Any:
    """Return ``count`` planes of images (..., C, H, W), an array or a tensor of whole numbers.

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
        return images.repeat(3, -3)
    return np.concatenate([images, np.zeros_like(images, shape=(count - planes, *images.shape[-2:]))])


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
