"""Random changes to a batch's images, as a pure function of (seed, stage, step)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from enface.data.pairs import Indices
from enface.recipe.models import AugmentModel, DataModel, DrawModel


@dataclass(frozen=True)
class Moves:
    """How each of N packed images is looked at.

    Attributes:
        top: First row, int64 (N,); rows outside the image repeat its edge.
        left: First column, likewise.
        flipped: Whether left and right are then exchanged, bool (N,).
    """

    top: Indices
    left: Indices
    flipped: npt.NDArray[np.bool_]

    @classmethod
    def joined(cls, several: Sequence[Moves]) -> Moves:
        """Those of several batches, one after another."""
        top, left = ([getattr(moves, name) for moves in several] for name in ("top", "left"))
        return cls(np.concatenate(top), np.concatenate(left), np.concatenate([moves.flipped for moves in several]))

    def __getitem__(self, here: slice) -> Moves:
        return Moves(self.top[here], self.left[here], self.flipped[here])


@dataclass(frozen=True)
class Views:
    """Every way in which an image may be looked at, each with a number from 0 to ``count``.

    Attributes:
        first: The least row and column that an image may begin at.
        span: From how many rows, and columns, it may.
        flips: 2 where images may be mirrored, else 1.
    """

    first: int
    span: int
    flips: int

    @property
    def count(self) -> int:
        """How many there are."""
        return self.span**2 * self.flips

    def number(self, moves: Moves) -> Indices:
        """Which view each move shows."""
        return (moves.flipped * self.span + moves.top - self.first) * self.span + moves.left - self.first

    def moves(self, number: int, count: int) -> Moves:
        """``count`` images all seen in the view of a number."""
        rest, left = divmod(number, self.span)
        flipped, top = divmod(rest, self.span)
        return Moves(
            np.full(count, top + self.first, np.int64),
            np.full(count, left + self.first, np.int64),
            np.full(count, bool(flipped)),
        )


@dataclass(frozen=True)
class Augment:
    """Draws the moves of a batch.

    Whole pixels are moved and nothing is interpolated, so an image keeps its sharpness. A draw is made for the
    whole batch, over all processes, and depends on neither their number nor the pack.

    Args:
        roles: The images of a pair.
    """

    model: AugmentModel
    data: DataModel
    roles: Sequence[str]

    def __bool__(self) -> bool:
        return any((self.model.crop, self.model.shift, self.model.flip))

    @property
    def views(self) -> Views:
        """Every way in which it may show an image."""
        room = self.data.packed_size - self.data.size
        by = self.model.shift.by if self.model.shift else 0
        first, span = (0, room + 1) if self.model.crop else (room // 2, 1)
        return Views(first - by, span + 2 * by, 2 if self.model.flip else 1)

    def draw(self, seed: int, stage: int, step: int, batch: int) -> dict[str, Moves]:
        """The moves of each role at a step."""
        rng = np.random.default_rng([seed, stage, step, 2])
        room = self.data.packed_size - self.data.size
        middle = np.full(batch, room // 2, np.int64)
        crop, shift, flip = self.model.crop, self.model.shift, self.model.flip
        top, left = dict.fromkeys(self.roles, middle), dict.fromkeys(self.roles, middle)
        flipped = dict.fromkeys(self.roles, np.zeros(batch, bool))
        if crop is not None:
            for group in self._groups(crop):
                corner = rng.integers(0, room, size=(2, batch), endpoint=True)
                top |= dict.fromkeys(group, corner[0])
                left |= dict.fromkeys(group, corner[1])
        if shift is not None:
            for group in self._groups(shift):
                way = rng.integers(-shift.by, shift.by, size=(2, batch), endpoint=True)
                top |= {role: top[role] + way[0] for role in group}
                left |= {role: left[role] + way[1] for role in group}
        if flip is not None:
            for group in self._groups(flip):
                flipped |= dict.fromkeys(group, rng.random(batch) < flip.chance)
        return {role: Moves(top[role], left[role], flipped[role]) for role in self.roles}

    def _groups(self, model: DrawModel) -> list[list[str]]:
        """The images that share a draw together, then each of the others alone."""
        together: list[str] = [role for role in model.images if role in model.share and role in self.roles]
        alone: list[list[str]] = [[role] for role in model.images if role not in model.share and role in self.roles]
        return [together, *alone] if together else alone
