"""Images that do not look as their labels say: moved, swapped, or no face of that view at all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from enface.audit.findings import LEAST_IN_GROUP, Finding, Subject, Suspect, robust_limit
from enface.sampling import Indices

SIDE = 64
SHIFT = 0.1
SHIFT_TIMES = 4.0
MARGIN = 0.1
MARGIN_TIMES = 5.0
UNLIKE_TIMES = 6.0
UNLIKE = 0.15
MOST_FOR_TYPICAL = 400
CHUNK = 256
Maps = npt.NDArray[np.float32]


def misaligned(subject: Subject) -> Finding:
    """Images that are moved, swapped with another view, or unlike all others of their view.

    A view is all images that agree in the columns the recipe's pairs name (pose and light; the role, where that
    is all there is). Its *typical* image is the pixelwise median of edge maps (gradient magnitude of the grey
    image, limited at twice its mean so that a light's shadow does not rule), standardised. Each image is compared
    with the typical ones by correlation, and judged against the spread within its own view:

    - *moved*: the cross-correlation with its own typical image peaks at a shift of more than a tenth of the size,
      and four robust standard deviations, beyond its view's median; there it is more alike than any other view's.
    - *swapped*: it correlates better with another view's typical image than with its own, by more than 0.1 and
      by five robust standard deviations beyond its view's median. A target that was swapped with its source is found
      so, a yaw with the wrong sign too.
    - *unlike*: its correlation with its own typical image, at the best shift, lies 0.15 and six robust standard
      deviations below its view's median: upside down, another thing, a face of another size.

    It cannot see a fault that most images of a view share, a shift below a tenth, two people exchanged at the same
    view, labels wrong by one small step, or anything in views of fewer than 8 images. Where photographs are
    loosely cropped it sees less, for then there is much that is usual.

    Severity: *warning*. A suspect's ``value`` is the shift in pixels, the margin, or the correlation; ``other`` is
    the image that is nearest to its view's typical one.
    """
    typical = _typical(subject)
    if typical is None:
        remark = f"No view has {LEAST_IN_GROUP} images; nothing was judged."
        return Finding("misaligned", "moved, swapped, unlike its view", [], remark)
    judged = _judge(subject, typical)
    suspects = _suspects(subject, typical, judged)
    left_out = len(subject.used) - len(judged.rows)
    remark = f"{len(typical.views)} views by {', '.join(subject.view_columns) or 'nothing'}."
    if left_out:
        remark += f" {left_out} images of views with fewer than {LEAST_IN_GROUP} were not judged."
    return Finding("misaligned", "moved, swapped, unlike its view", suspects, remark)


@dataclass(frozen=True)
class _Typical:
    """The typical image of each view that has enough of them.

    Attributes:
        views: (V,) numbers of the views.
        maps: (V, h, w) standardised edge maps.
    """

    views: Indices
    maps: Maps


@dataclass(frozen=True)
class _Judged:
    """What was measured of each row (M,).

    Attributes:
        place: Which typical image is its own.
        shift: (M, 2) down and right, in pixels of the pack.
        peak: Correlation with its own typical image at that shift.
        own: The same unshifted.
        best: The highest correlation with another typical image.
        rival: Which one that is.
    """

    rows: Indices
    place: Indices
    shift: npt.NDArray[np.int64]
    peak: Maps
    own: Maps
    best: Maps
    rival: Indices


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


def _typical(subject: Subject) -> _Typical | None:
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
    return _Typical(kept.astype(np.int64), _standard(np.stack(maps)))


def _judge(subject: Subject, typical: _Typical) -> _Judged:
    rows = subject.used[np.isin(subject.view[subject.used], typical.views)]
    place = np.searchsorted(typical.views, subject.view[rows]).astype(np.int64)
    flat = typical.maps.reshape(len(typical.maps), -1)
    spectra = np.fft.rfft2(typical.maps).conj()
    found: list[tuple[npt.NDArray[Any], ...]] = []
    for start in range(0, len(rows), CHUNK):
        mine = place[start : start + CHUNK]
        edges = edge_maps(subject.images[rows[start : start + CHUNK]])
        all_views = edges.reshape(len(edges), -1) @ flat.T / flat.shape[1]
        each = np.arange(len(edges))
        own = all_views[each, mine]
        all_views[each, mine] = -2
        rival = all_views.argmax(axis=1)
        found.append((*_shifts(edges, spectra[mine]), own, all_views[each, rival], rival))
    shift, *others = (np.concatenate(part) for part in zip(*found, strict=True))
    scale = subject.images.shape[-1] // typical.maps.shape[-1]
    return _Judged(rows, place, shift * scale, *others)


def _shifts(edges: Maps, spectra: npt.NDArray[np.complexfloating]) -> tuple[npt.NDArray[np.int64], Maps]:
    """Where each cross-correlation with a typical image peaks: (M, 2) down and right, and (M,) how high."""
    side = edges.shape[-1]
    correlation = np.fft.irfft2(np.fft.rfft2(edges) * spectra, s=edges.shape[1:]).reshape(len(edges), -1)
    top = correlation.argmax(axis=1)
    shift = np.stack([top // side, top % side], axis=1)
    shift = np.where(shift > side // 2, shift - side, shift).astype(np.int64)
    peak = correlation[np.arange(len(edges)), top] / side**2
    return shift, peak.astype(np.float32)


def _suspects(subject: Subject, typical: _Typical, judged: _Judged) -> list[Suspect]:
    found: list[tuple[float, Suspect]] = []
    moved_by = np.abs(judged.shift).max(axis=1)
    margin = judged.best - judged.own
    examples = {
        place: int(judged.rows[_members(judged, place)[judged.own[_members(judged, place)].argmax()]])
        for place in range(len(typical.views))
    }
    for place in range(len(typical.views)):
        here = _members(judged, place)
        most_moved = robust_limit(moved_by[here], SHIFT_TIMES, SHIFT * subject.images.shape[-1])
        most_margin = max(MARGIN, robust_limit(margin[here], MARGIN_TIMES, 0.0))
        least_peak = -robust_limit(-judged.peak[here], UNLIKE_TIMES, UNLIKE)
        for one in here:
            row = int(judged.rows[one])
            view = subject.view_name(row)
            over_moved, over_margin = moved_by[one] / most_moved, margin[one] / most_margin
            # A moved image is unlike its view where it lies, and a swapped one has no place in it: what explains
            # the image better is told, its own view at another place or another view at this place.
            is_moved = over_moved > 1 and judged.peak[one] >= judged.best[one]
            if is_moved:
                detail = f"moved {_direction(judged.shift[one])} against what is usual for {view}"
                suspect = Suspect("warning", row, detail, examples[place], float(moved_by[one]))
                found.append((float(over_moved), suspect))
            elif over_margin > 1:
                detail = f"labelled {view}, looks like {subject.view_name(examples[int(judged.rival[one])])}"
                suspect = Suspect("warning", row, detail, examples[place], float(margin[one]))
                found.append((float(over_margin), suspect))
            elif judged.peak[one] < least_peak:
                detail = f"unlike the other images of {view} (correlation {judged.peak[one]:.2f})"
                found.append((1.0, Suspect("warning", row, detail, examples[place], float(judged.peak[one]))))
    return [suspect for _, suspect in sorted(found, key=lambda item: -item[0])]


def _members(judged: _Judged, place: int) -> Indices:
    return np.flatnonzero(judged.place == place).astype(np.int64)


def _direction(shift: npt.NDArray[np.int64]) -> str:
    down, right = map(int, shift)
    words = [f"{abs(down)} px {'down' if down > 0 else 'up'}"] if down else []
    if right:
        words.append(f"{abs(right)} px {'right' if right > 0 else 'left'}")
    return " and ".join(words)
