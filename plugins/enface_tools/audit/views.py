"""How much each image looks like the typical image of its own view and of every other."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from enface.data.pairs import Indices
from enface_tools.audit.findings import LEAST_IN_GROUP, Subject

SIDE = 64
MOST_FOR_TYPICAL = 400
CHUNK = 256
Maps = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Typical:
    """The typical image of each view that has enough of them.

    Attributes:
        views: (V,) numbers of the views.
        maps: (V, h, w) standardised edge maps.
    """

    views: Indices
    maps: Maps


@dataclass(frozen=True)
class Likeness:
    """What was measured of each row (M,).

    Attributes:
        place: Which typical image is its own.
        shift: (M, 2) down and right, in pixels of the pack, at which it is most like that one.
        peak: Correlation with its own typical image at that shift.
        views: (M, V) correlation with every typical image, unshifted.
    """

    rows: Indices
    place: Indices
    shift: npt.NDArray[np.int64]
    peak: Maps
    views: Maps

    @property
    def own(self) -> Maps:
        """Correlation with its own typical image, unshifted."""
        own: Maps = self.views[np.arange(len(self.rows)), self.place]
        return own

    @cached_property
    def rival(self) -> Indices:
        """Which other typical image it is most like; its own where there is no other."""
        others = self.views.copy()
        others[np.arange(len(self.rows)), self.place] = -2
        rival: Indices = others.argmax(axis=1).astype(np.int64)
        return rival

    @property
    def best(self) -> Maps:
        """Correlation with that one."""
        best: Maps = self.views[np.arange(len(self.rows)), self.rival]
        return best

    def members(self, place: int) -> Indices:
        """Which of the rows are of one view."""
        return np.flatnonzero(self.place == place).astype(np.int64)


def edge_maps(images: npt.NDArray[np.uint8]) -> Maps:
    """Standardised edge maps, at 64 pixels or a little less.

    Args:
        images: uint8 (M, 3, H, W).

    Returns:
        float32 (M, h, w), mean 0 and standard deviation 1 each (0 throughout for a blank image).
    """
    grey = images.mean(axis=1, dtype=np.float32)
    factor = -(-grey.shape[-1] // SIDE)
    side = grey.shape[-1] // factor
    grey = grey[:, : side * factor, : side * factor].reshape(-1, side, factor, side, factor).mean(axis=(2, 4))
    down, right = np.gradient(grey, axis=(1, 2))
    edges = np.hypot(down, right)
    edges = np.minimum(edges, 2 * edges.mean(axis=(1, 2), keepdims=True))
    return _standard(edges)


def _standard(maps: npt.NDArray[np.floating]) -> Maps:
    maps = maps - maps.mean(axis=(-2, -1), keepdims=True)
    standard: Maps = (maps / np.maximum(maps.std(axis=(-2, -1), keepdims=True), 1e-3)).astype(np.float32)
    return standard


def typical_views(subject: Subject) -> Typical | None:
    """The typical images, from at most 400 of each view; None where no view has 8 images."""
    views = subject.view[subject.used]
    numbers, counts = np.unique(views, return_counts=True)
    kept = numbers[counts >= LEAST_IN_GROUP]
    if not len(kept):
        return None
    maps = []
    for number in kept:
        rows = subject.used[views == number]
        # Evenly spread over the table, so that no few people make a view's typical image.
        some = rows[np.unique(np.linspace(0, len(rows) - 1, MOST_FOR_TYPICAL).astype(int))]
        maps.append(np.median(edge_maps(subject.images[some]), axis=0))
    return Typical(kept.astype(np.int64), _standard(np.stack(maps)))


def compare(subject: Subject, typical: Typical) -> Likeness:
    """Compare every used row whose view has a typical image."""
    rows = subject.used[np.isin(subject.view[subject.used], typical.views)]
    place = np.searchsorted(typical.views, subject.view[rows]).astype(np.int64)
    flat = typical.maps.reshape(len(typical.maps), -1)
    spectra = np.fft.rfft2(typical.maps).conj()
    found: list[tuple[npt.NDArray[Any], ...]] = []
    for start in range(0, len(rows), CHUNK):
        mine = place[start : start + CHUNK]
        edges = edge_maps(subject.images[rows[start : start + CHUNK]])
        all_views = edges.reshape(len(edges), -1) @ flat.T / flat.shape[1]
        found.append((*_shifts(edges, spectra[mine]), all_views))
    shift, peak, likeness = (np.concatenate(part) for part in zip(*found, strict=True))
    scale = subject.images.shape[-1] // typical.maps.shape[-1]
    return Likeness(rows, place, shift * scale, peak, likeness)


def _shifts(edges: Maps, spectra: npt.NDArray[np.complexfloating]) -> tuple[npt.NDArray[np.int64], Maps]:
    """Where each cross-correlation with a typical image peaks: (M, 2) down and right, and (M,) how high."""
    side = edges.shape[-1]
    correlation = np.fft.irfft2(np.fft.rfft2(edges) * spectra, s=edges.shape[1:]).reshape(len(edges), -1)
    top = correlation.argmax(axis=1)
    shift = np.stack([top // side, top % side], axis=1)
    shift = np.where(shift > side // 2, shift - side, shift).astype(np.int64)
    peak = correlation[np.arange(len(edges)), top] / side**2
    return shift, peak.astype(np.float32)
