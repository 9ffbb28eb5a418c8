"""The crops and flips of an augmentation, numbered."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from enface.data.augment import Augment, CropFlip
from enface.data.pairs import Indices


@dataclass(frozen=True)
class CropFlipSpace:
    """Every crop and flip that can be drawn, numbered from 0 to ``count`` - 1.

    Attributes:
        first: The smallest first row, and the smallest first column.
        span: Number of first rows, and of first columns.
        flips: 2 if images may be flipped, else 1.
    """

    first: tuple[int, int]
    span: tuple[int, int]
    flips: int

    @classmethod
    def of(cls, augment: Augment) -> CropFlipSpace:
        """Return the space of an augmentation."""
        crop, shift, flip = augment.model.crop, augment.model.shift, augment.model.flip
        by = shift.by if shift else 0
        axes = [(0, margin + 1) if crop else (margin // 2, 1) for margin in augment.margins]
        (top, rows), (left, columns) = [(first - by, span + 2 * by) for first, span in axes]
        return cls((top, left), (rows, columns), 2 if flip else 1)

    @property
    def count(self) -> int:
        """Number of crops and flips."""
        return self.span[0] * self.span[1] * self.flips

    def index(self, crops: CropFlip) -> Indices:
        """Return the number of each image's crop and flip."""
        (top, left), (rows, columns) = self.first, self.span
        return (crops.flipped * rows + crops.top - top) * columns + crops.left - left

    def at(self, index: int, count: int) -> CropFlip:
        """Return the crop and flip of a number, for ``count`` images."""
        rest, left = divmod(index, self.span[1])
        flipped, top = divmod(rest, self.span[0])
        return CropFlip(
            np.full(count, top + self.first[0], np.int64),
            np.full(count, left + self.first[1], np.int64),
            np.full(count, bool(flipped)),
        )
