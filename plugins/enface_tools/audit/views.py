"""Similarity of each image to the typical image of its own view and of every other."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from enface.data.pairs import Indices
from enface_tools.audit.findings import MIN_GROUP, AuditedData

SIDE = 64
MAX_FOR_TYPICAL = 400
CHUNK = 256
Maps = npt.NDArray[np.float32]


@dataclass(frozen=True)
class TypicalViews:
    """The typical image of each view that has enough images.

    Attributes:
        views: (V,) numbers of the views.
        maps: (V, h, w) standardised edge maps.
    """

    views: Indices
    maps: Maps


@dataclass(frozen=True)
class ViewSimilarity:
    """Similarity of M images to V typical images.

    Attributes:
        rows: (M,) rows of the images.
        place: (M,) index of the typical image of their own view.
        shift: (M, 2) pixels down and right, in the pack's pixels, at which an image is most like that one.
        peak: (M,) correlation with it at that shift.
        views: (M, V) correlation with every typical image, unshifted.
    """

    rows: Indices
    place: Indices
    shift: npt.NDArray[np.int64]
    peak: Maps
    views: Maps

    @property
    def own(self) -> Maps:
        """(M,) correlation with the typical image of the own view, unshifted."""
        own: Maps = self.views[np.arange(len(self.rows)), self.place]
        return own

    @cached_property
    def rival(self) -> Indices:
        """(M,) index of the most similar typical image of another view; the own one if there is no other."""
        others = self.views.copy()
        others[np.arange(len(self.rows)), self.place] = -2
        rival: Indices = others.argmax(axis=1).astype(np.int64)
        return rival

    @property
    def best(self) -> Maps:
        """(M,) correlation with ``rival``."""
        best: Maps = self.views[np.arange(len(self.rows)), self.rival]
        return best

    def members(self, place: int) -> Indices:
        """Return the indices, below M, of the images of one view."""
        return np.flatnonzero(self.place == place).astype(np.int64)


def edge_maps(images: npt.NDArray[np.uint8]) -> Maps:
    """Compute standardised edge maps, whose longer side is 64 pixels or slightly less.

    Args:
        images: uint8 (M, 3, H, W).

    Returns:
        float32 (M, h, w), each with mean 0 and standard deviation 1 (all 0 for a blank image).
    """
    grey = images.mean(axis=1, dtype=np.float32)
    factor = -(-max(grey.shape[1:]) // SIDE)
    high, wide = grey.shape[1] // factor, grey.shape[2] // factor
    grey = grey[:, : high * factor, : wide * factor].reshape(-1, high, factor, wide, factor).mean(axis=(2, 4))
    down, right = np.gradient(grey, axis=(1, 2))
    edges = np.hypot(down, right)
    edges = np.minimum(edges, 2 * edges.mean(axis=(1, 2), keepdims=True))
    return _standardised(edges)


def _standardised(maps: npt.NDArray[np.floating]) -> Maps:
    maps = maps - maps.mean(axis=(-2, -1), keepdims=True)
    standardised: Maps = (maps / np.maximum(maps.std(axis=(-2, -1), keepdims=True), 1e-3)).astype(np.float32)
    return standardised


def typical_views(data: AuditedData) -> TypicalViews | None:
    """Return the typical images, from at most 400 images of each view; None if no view has 8 images."""
    views = data.view[data.used]
    numbers, counts = np.unique(views, return_counts=True)
    kept = numbers[counts >= MIN_GROUP]
    if not len(kept):
        return None
    maps = []
    for number in kept:
        rows = data.used[views == number]
        # Evenly spread over the table, so that the typical image is not that of a few people.
        sample = rows[np.unique(np.linspace(0, len(rows) - 1, MAX_FOR_TYPICAL).astype(int))]
        maps.append(np.median(edge_maps(data.images[sample]), axis=0))
    return TypicalViews(kept.astype(np.int64), _standardised(np.stack(maps)))


def view_similarity(data: AuditedData, typical: TypicalViews) -> ViewSimilarity:
    """Compare every used row whose view has a typical image with all typical images."""
    rows = data.used[np.isin(data.view[data.used], typical.views)]
    place = np.searchsorted(typical.views, data.view[rows]).astype(np.int64)
    flat = typical.maps.reshape(len(typical.maps), -1)
    spectra = np.fft.rfft2(typical.maps).conj()
    chunks: list[tuple[npt.NDArray[Any], ...]] = []
    for start in range(0, len(rows), CHUNK):
        own = place[start : start + CHUNK]
        edges = edge_maps(data.images[rows[start : start + CHUNK]])
        correlation = edges.reshape(len(edges), -1) @ flat.T / flat.shape[1]
        chunks.append((*_shifts(edges, spectra[own]), correlation))
    shift, peak, views = (np.concatenate(part) for part in zip(*chunks, strict=True))
    scale = max(data.images.shape[-2:]) // max(typical.maps.shape[-2:])
    return ViewSimilarity(rows, place, shift * scale, peak, views)


def _shifts(edges: Maps, spectra: npt.NDArray[np.complexfloating]) -> tuple[npt.NDArray[np.int64], Maps]:
    """Peaks of the cross-correlation with a typical image: position (M, 2) down and right, and height (M,)."""
    sides = np.array(edges.shape[1:])
    correlation = np.fft.irfft2(np.fft.rfft2(edges) * spectra, s=edges.shape[1:]).reshape(len(edges), -1)
    top = correlation.argmax(axis=1)
    shift = np.stack(np.unravel_index(top, edges.shape[1:]), axis=1)
    shift = np.where(shift > sides // 2, shift - sides, shift).astype(np.int64)
    peak = correlation[np.arange(len(edges)), top] / sides.prod()
    return shift, peak.astype(np.float32)
