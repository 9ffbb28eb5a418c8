"""The format of a pack's images: fitting, resizing, planes and depth."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from enface.data.images import Pixels, Size, center_crop, planes_of, to_depth
from enface.errors import DataError

if TYPE_CHECKING:
    from enface.recipe.models import DataModel, Fit


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

    def flow(self, flow: npt.NDArray[np.float16]) -> npt.NDArray[np.float16]:
        """Return a flow (2, H, W) in pixels, between two images of one size, fitted and scaled as they are.

        By nearest neighbour; 0 in the padding.
        """
        size = flow.shape[-2:]
        before, after = {
            "crop": (_largest_within(size, self.size), self.size),
            "pad": (size, _largest_within(self.size, size)),
            "stretch": (size, self.size),
        }[self.fit]
        planes = [self._fitted(plane, _resized, 0) for plane in flow.astype(np.float32)]
        down, across = (new / old for new, old in zip(after, before, strict=True))
        return np.stack([planes[0] * across, planes[1] * down]).astype(np.float16)

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


def _lanczos(image: Pixels, size: Size) -> Any:
    """Resize an image (C, H, W) with antialiasing."""
    if image.dtype == np.uint8 and len(image) == 3:
        return _resized(image.transpose(1, 2, 0), size, Image.Resampling.LANCZOS).transpose(2, 0, 1)
    planes = [_resized(plane.astype(np.float32), size, Image.Resampling.LANCZOS) for plane in image]
    return np.floor(np.stack(planes) + 0.5).clip(0, np.iinfo(image.dtype).max).astype(image.dtype)


def _resized(pixels: Any, size: Size, filter_: Image.Resampling = Image.Resampling.NEAREST) -> Any:
    return np.asarray(Image.fromarray(pixels).resize(size[::-1], filter_))
