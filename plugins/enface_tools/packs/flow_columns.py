"""Batch columns of datasets that know their geometry: the true flow into source and partner, and its visibility."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
import numpy.typing as npt

from enface.data.augment import CropFlip
from enface.data.batches import BatchColumn, Cropper
from enface.data.images import Size
from enface.data.pack import Pack
from enface.data.pairs import Indices
from enface.errors import EnfaceError
from enface.plugin.bases import Dataset
from enface.recipe.load import LoadedRecipe
from enface.system.messages import Reporter
from enface_tools.packs.building import build_dataset
from enface_tools.packs.geometry import Geometry, ViewPairs

Floats = npt.NDArray[np.float32]
Draws = Mapping[str, CropFlip]


def flow_columns(loaded: LoadedRecipe, pack: Pack, roles: Sequence[str], reporter: Reporter) -> dict[str, BatchColumn]:
    """Return ``source_flow``, ``source_visible`` and, with partners, ``partner_flow`` and ``partner_visible``.

    Empty if the pack's dataset knows no correspondence, or cannot be built here. Nothing is rendered before a column is
    requested.
    """
    geometry = _geometry(loaded, pack, roles, reporter)
    if geometry is None:
        return {}
    fields = FlowFields(geometry, loaded.recipe.data.image_size)
    columns: dict[str, BatchColumn] = {}
    for role in ("source", "partner"):
        if role in roles:
            columns[f"{role}_flow"] = partial(fields.flow, role)
            columns[f"{role}_visible"] = partial(fields.visible, role)
    return columns


def _geometry(loaded: LoadedRecipe, pack: Pack, roles: Sequence[str], reporter: Reporter) -> Geometry | None:
    recipe, use = loaded.recipe, pack.info.dataset
    if use not in loaded.catalog.names("dataset"):
        return None
    component: Any = loaded.catalog.get("dataset", use).component
    if component.correspondence is Dataset.correspondence:
        return None
    try:
        # A pack that was made elsewhere holds the parameters that the recipe may leave out.
        dataset, spec = build_dataset(recipe, loaded.catalog, use, {**pack.info.parameters, **recipe.data.params})
    except (EnfaceError, ValueError):
        return None
    views = getattr(component, "view_columns", None)
    pairs = ViewPairs.of(pack.table, views, recipe.pairs, partner="partner" in roles)
    return Geometry(pack, pairs, dataset, spec, reporter) if len(pairs.codes) else None


class FlowFields:
    """The true flow and visibility of a batch, for its crops, shifts and flips.

    Args:
        size: Height and width of the batch's images.
    """

    def __init__(self, geometry: Geometry, size: Size) -> None:
        self._geometry, self._size = geometry, size
        self._last: tuple[Any, tuple[Floats, Floats]] | None = None

    def flow(self, role: str, rows: Mapping[str, Indices], crops: Draws) -> Floats:
        """Return the way from each pixel of the target to its place in a role's image, float32 (N, 2, H, W).

        Right and down, in pixels; also of pixels that the image does not show; 0 for two people.
        """
        return self._both(role, rows, crops)[0]

    def visible(self, role: str, rows: Mapping[str, Indices], crops: Draws) -> Floats:
        """Return 1.0 for pixels of the target that a role's image shows, float32 (N, 1, H, W)."""
        return self._both(role, rows, crops)[1]

    def _both(self, role: str, rows: Mapping[str, Indices], crops: Draws) -> tuple[Floats, Floats]:
        # A step requests both, one after the other.
        drawn = {name: crops[name] for name in (role, "target") if name in crops}
        arrays: list[npt.NDArray[Any]] = [rows[role], rows["target"]]
        arrays += [item for crop in drawn.values() for item in (crop.top, crop.left, crop.flipped)]
        key = role, *drawn, *(item.tobytes() for item in arrays)
        if self._last is None or self._last[0] != key:
            self._last = key, self._computed(rows[role], rows["target"], crops.get(role), crops.get("target"))
        return self._last[1]

    def _computed(
        self, sources: Indices, targets: Indices, of_source: CropFlip | None, of_target: CropFlip | None
    ) -> tuple[Floats, Floats]:
        pair = self._geometry.pairs.index(sources, targets)
        known = (pair >= 0)[:, None, None, None]
        stored, visible = (crop(np.maximum(pair, 0), of_target) for crop in self._croppers)
        inside, ways = known[:, 0], []
        for axis, (target, source) in enumerate(zip(self._axes(of_target), self._axes(of_source), strict=True)):
            points = target.points + stored[:, axis].astype(np.float32)
            places = source.places(points)
            # Beyond the packed image its edge is repeated, which is not the point.
            inside = inside & _within(points, source.packed) & _within(places, source.side)
            ways.append(places - target.pixels)
        return np.stack(ways, axis=1).astype(np.float32) * known, (visible * inside)[:, None].astype(np.float32)

    @cached_property
    def _croppers(self) -> tuple[Cropper, Cropper]:
        flow, visible = self._geometry.arrays()
        pixels: Any = flow
        return Cropper(pixels, self._size), Cropper(visible, self._size)

    def _axes(self, crop: CropFlip | None) -> tuple[_Axis, _Axis]:
        """Return the columns and rows of a batch's images."""
        (height, width), (tall, wide) = self._size, self._geometry.pack.size
        if crop is None:
            middle = [np.asarray([(outer - inner) // 2]) for outer, inner in ((wide, width), (tall, height))]
            crop = CropFlip(middle[1], middle[0], np.zeros(1, bool))
        # Rows are never flipped.
        upright = np.zeros_like(crop.flipped)
        return _Axis(crop.left, crop.flipped, width, wide, 2), _Axis(crop.top, upright, height, tall, 1)


@dataclass(frozen=True)
class _Axis:
    """Columns or rows of N images, which are crops of packed images.

    Attributes:
        first: The first one's number in the packed image, (N,).
        flipped: True if their order is reversed, (N,).
        side: Their number.
        packed: That of the packed image.
        dim: Dimension in arrays (N, H, W).
    """

    first: Indices
    flipped: npt.NDArray[np.bool_]
    side: int
    packed: int
    dim: int

    @property
    def pixels(self) -> npt.NDArray[Any]:
        """Numbers from 0 along the axis, (1, 1, W) or (1, H, 1)."""
        return np.arange(self.side).reshape([-1 if dim == self.dim else 1 for dim in range(3)])

    @property
    def points(self) -> npt.NDArray[Any]:
        """Place in the packed image of each pixel; those beyond it show its edge."""
        order = np.where(_each(self.flipped), self.side - 1 - self.pixels, self.pixels)
        return np.asarray(np.clip(_each(self.first) + order, 0, self.packed - 1))

    def places(self, points: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return the place in the crops of points (N, H, W) of the packed image."""
        places = points - _each(self.first)
        return np.asarray(np.where(_each(self.flipped), self.side - 1 - places, places))


def _each(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return np.asarray(values[:, None, None])


def _within(places: npt.NDArray[Any], side: int) -> npt.NDArray[np.bool_]:
    """True from the outer edge of the first pixel to that of the last."""
    return np.asarray((places >= -0.5) & (places <= side - 0.5))
