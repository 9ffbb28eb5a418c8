"""Outputs for images of any size, by networks that are fully convolutional: whole, or in overlapping tiles."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from enface.errors import EnfaceError


@dataclass(frozen=True)
class Tiling:
    """Applies a network at an image's own size.

    An image is mirrored at its right and bottom edges up to a multiple of ``multiple``, and its output is cropped.
    Tiles overlap; the outer quarter of an overlap, where a network sees the border of its tile, is dropped, and the
    rest is blended linearly.

    Args:
        multiple: Number that height and width must be divisible by.
        tile: Height and width of a tile; None to apply the network to the whole image.
        overlap: Pixels that neighbouring tiles share.

    Raises:
        EnfaceError: if ``tile`` or ``overlap`` is no multiple of ``multiple``, or a tile does not exceed its overlaps.
    """

    multiple: int
    tile: int | None = None
    overlap: int = 64

    def __post_init__(self) -> None:
        if self.tile is None:
            return
        for name, value in (("tile", self.tile), ("overlap", self.overlap)):
            if value % self.multiple:
                raise EnfaceError(f"--{name} {value}: this network needs a multiple of {self.multiple}")
        if self.tile <= 2 * self.overlap:
            raise EnfaceError(f"--tile {self.tile} must be more than twice --overlap {self.overlap}")

    def __call__(self, network: Callable[[Tensor], Tensor], source: Tensor) -> Tensor:
        """Return the output of an image (1, C, H, W) of any size."""
        height, width = source.shape[-2:]
        padded = mirrored(source, self.multiple)
        tall, wide = padded.shape[-2:]
        if self.tile is None or (tall <= self.tile and wide <= self.tile):
            return network(padded)[..., :height, :width]
        rows, columns = _starts(tall, self.tile, self.overlap), _starts(wide, self.tile, self.overlap)
        total = weights = torch.zeros(0)
        for top in rows:
            for left in columns:
                part = padded[..., top : top + self.tile, left : left + self.tile]
                output = network(part)
                if not total.numel():
                    total = output.new_zeros(1, output.shape[1], tall, wide)
                    weights = output.new_zeros(tall, wide)
                down = _ramp(part.shape[-2], self.overlap, top > 0, top + self.tile < tall).to(output)
                across = _ramp(part.shape[-1], self.overlap, left > 0, left + self.tile < wide).to(output)
                here = (slice(top, top + self.tile), slice(left, left + self.tile))
                weight = down[:, None] * across
                total[(..., *here)] += output * weight
                weights[here] += weight
        return (total / weights)[..., :height, :width]


def mirrored(source: Tensor, multiple: int) -> Tensor:
    """Images (N, C, H, W) mirrored at the right and bottom edges up to a multiple in height and width."""
    for axis in (-2, -1):
        length = source.shape[axis]
        if missing := -length % multiple:
            # NumPy mirrors as often as needed, torch only once.
            places = np.pad(np.arange(length), (0, missing), mode="reflect")
            source = source.index_select(axis, torch.from_numpy(places).to(source.device))
    return source


def _starts(length: int, tile: int, overlap: int) -> list[int]:
    """First pixels of tiles that cover a length; the last tile ends with it."""
    if length <= tile:
        return [0]
    return [*range(0, length - tile, tile - overlap), length - tile]


def _ramp(length: int, overlap: int, before: bool, after: bool) -> Tensor:
    """Weights of a tile along one axis, which fall to 0 within the overlap where a neighbour follows."""
    weights = torch.ones(length)
    if overlap == 0:
        return weights
    quarter = overlap // 4
    inner = overlap - 2 * quarter
    rise = torch.cat([torch.zeros(quarter), (torch.arange(inner) + 0.5) / inner, torch.ones(quarter)])
    if before:
        weights[:overlap] *= rise
    if after:
        weights[-overlap:] *= rise.flip(0)
    return weights
