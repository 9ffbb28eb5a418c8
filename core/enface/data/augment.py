"""Random crops, shifts and flips of a batch's images, as a pure function of (seed, stage, step)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from enface.data.pairs import Indices
from enface.recipe.models import AugmentModel, DataModel, DrawModel


@dataclass(frozen=True)
class CropFlip:
    """Crop and flip of each of N packed images.

    Attributes:
        top: First row, int64 (N,); rows outside the image repeat its edge.
        left: First column, likewise.
        flipped: True to flip the crop left to right, bool (N,).
    """

    top: Indices
    left: Indices
    flipped: npt.NDArray[np.bool_]

    @classmethod
    def concatenate(cls, parts: Sequence[CropFlip]) -> CropFlip:
        """Join those of several batches."""
        top, left = ([getattr(crops, name) for crops in parts] for name in ("top", "left"))
        return cls(np.concatenate(top), np.concatenate(left), np.concatenate([crops.flipped for crops in parts]))

    def __getitem__(self, here: slice) -> CropFlip:
        return CropFlip(self.top[here], self.left[here], self.flipped[here])


@dataclass(frozen=True)
class Augment:
    """Draws the crops and flips of a batch.

    Images move by whole pixels and are not interpolated, so they stay sharp. A draw covers the whole batch over all
    processes, and depends on neither their number nor the pack.

    Args:
        roles: The images of a pair.
    """

    model: AugmentModel
    data: DataModel
    roles: Sequence[str]

    def __bool__(self) -> bool:
        return any((self.model.crop, self.model.shift, self.model.flip))

    @property
    def margins(self) -> tuple[int, int]:
        """Rows and columns that a packed image has more than a cropped one."""
        (tall, wide), (height, width) = self.data.packed_size, self.data.image_size
        return tall - height, wide - width

    def draw(self, seed: int, stage: int, step: int, batch: int) -> dict[str, CropFlip]:
        """Draw the crops and flips of each role at a step."""
        rng = np.random.default_rng([seed, stage, step, 2])
        margins = self.margins
        crop, shift, flip = self.model.crop, self.model.shift, self.model.flip
        top, left = (dict.fromkeys(self.roles, np.full(batch, margin // 2, np.int64)) for margin in margins)
        flipped = dict.fromkeys(self.roles, np.zeros(batch, bool))
        if crop is not None:
            for group in self._groups(crop):
                top |= dict.fromkeys(group, rng.integers(0, margins[0], size=batch, endpoint=True))
                left |= dict.fromkeys(group, rng.integers(0, margins[1], size=batch, endpoint=True))
        if shift is not None:
            for group in self._groups(shift):
                offset = rng.integers(-shift.by, shift.by, size=(2, batch), endpoint=True)
                top |= {role: top[role] + offset[0] for role in group}
                left |= {role: left[role] + offset[1] for role in group}
        if flip is not None:
            for group in self._groups(flip):
                flipped |= dict.fromkeys(group, rng.random(batch) < flip.chance)
        return {role: CropFlip(top[role], left[role], flipped[role]) for role in self.roles}

    def _groups(self, model: DrawModel) -> list[list[str]]:
        """Return the roles that share a draw as one group, then each of the others as its own."""
        shared: list[str] = [role for role in model.images if role in model.share and role in self.roles]
        others: list[list[str]] = [[role] for role in model.images if role not in model.share and role in self.roles]
        return [shared, *others] if shared else others
