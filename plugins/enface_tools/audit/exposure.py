"""Images that are blank, clipped, or far too dark or bright."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from enface_tools.audit.findings import BLANK, GREY, MIN_GROUP, AuditedData, Finding, Suspect, robust_limit

BLACK, WHITE = 2, 253
CLIPPED_SHARE = 0.2
LUMINANCE = 45.0
TIMES = 5.0
CHUNK = 512

Numbers = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Luminance:
    """Luminance of M images in levels of 255.

    Attributes:
        mean, spread: (M,) mean and standard deviation over an image.
        black, white: (M,) share of black and of white pixels.
    """

    mean: Numbers
    spread: Numbers
    black: Numbers
    white: Numbers


def exposure(data: AuditedData) -> Finding:
    """Find blank images, and images clipped, dark or bright beyond the rest of their view.

    Measured on luminance, 0 to 255: *blank* is a standard deviation below 3; *clipped*, a share of pixels with every
    channel at most 2, or every channel at least 253, that exceeds its view's median by 0.2 and by five robust
    standard deviations; *dark* or *bright*, a mean that differs from its view's median by as many, and by 45 levels.
    Images share a view if they agree in the columns of the recipe's pair rules (pose, light); views of fewer than 8
    images are checked together, as one. The check sees single images, not a data set that is badly lit throughout: a
    black backdrop in all images is in order.

    Severity: *error* for blank images, else *warning*. A suspect's ``value`` is the first measure beyond its limit.
    """
    rows = data.used
    luminance = _measure(data.images, rows)
    blank = luminance.spread < BLANK
    faults: dict[int, list[tuple[str, float]]] = {}
    for group in _groups(data.view[rows], ~blank):
        for index, fault in [*_clipped(luminance, group), *_dark_or_bright(luminance.mean, group)]:
            faults.setdefault(index, []).append(fault)
    suspects = [
        Suspect(
            "error",
            int(rows[index]),
            f"blank: one shade of {luminance.mean[index]:.0f} all over",
            None,
            float(luminance.spread[index]),
        )
        for index in np.flatnonzero(blank)
    ]
    for index, image_faults in sorted(faults.items()):
        text = "; ".join(detail for detail, _ in image_faults)
        suspects.append(Suspect("warning", int(rows[index]), text, None, image_faults[0][1]))
    remark = f"Median luminance {np.median(luminance.mean):.0f} of 255." if len(rows) else ""
    return Finding("exposure", "blank, clipped, dark or bright", suspects, remark)


def _clipped(luminance: Luminance, group: npt.NDArray[np.int64]) -> list[tuple[int, tuple[str, float]]]:
    """(image, (fault, share)) of the clipped images of a group."""
    faults = []
    for share, name in ((luminance.black, "black"), (luminance.white, "white")):
        limit = robust_limit(share[group], TIMES, CLIPPED_SHARE)
        median = float(np.median(share[group]))
        for index in group[share[group] > limit]:
            detail = f"{share[index]:.0%} of its pixels are {name}, the median is {median:.0%}"
            faults.append((int(index), (detail, float(share[index]))))
    return faults


def _dark_or_bright(mean: Numbers, group: npt.NDArray[np.int64]) -> list[tuple[int, tuple[str, float]]]:
    """(image, (fault, mean luminance)) of the dark and bright images of a group."""
    faults = []
    median = float(np.median(mean[group]))
    limit = robust_limit(mean[group], TIMES, LUMINANCE) - median
    for index in group[np.abs(mean[group] - median) > limit]:
        name = "dark" if mean[index] < median else "bright"
        detail = f"{name}: mean luminance {mean[index]:.0f}, the median is {median:.0f}"
        faults.append((int(index), (detail, float(mean[index]))))
    return faults


def _groups(view: npt.NDArray[np.int64], seen: npt.NDArray[np.bool_]) -> list[npt.NDArray[np.int64]]:
    """Indices of the seen images by view; views with too few images are one group."""
    sizes = np.bincount(view[seen], minlength=int(view.max(initial=0)) + 1)
    view = np.where(sizes[view] >= MIN_GROUP, view, -1)
    return [np.flatnonzero(seen & (view == number)) for number in np.unique(view[seen])]


def _measure(images: npt.NDArray[np.uint8], rows: npt.NDArray[np.int64]) -> Luminance:
    chunks: list[list[Numbers]] = [[np.zeros(0, np.float32)] for _ in range(4)]
    for start in range(0, len(rows), CHUNK):
        chunk = images[rows[start : start + CHUNK]]
        grey = (chunk * GREY).sum(axis=1)
        numbers = (
            grey.mean(axis=(1, 2)),
            grey.std(axis=(1, 2)),
            (chunk.max(axis=1) <= BLACK).mean(axis=(1, 2), dtype=np.float32),
            (chunk.min(axis=1) >= WHITE).mean(axis=(1, 2), dtype=np.float32),
        )
        for kept, values in zip(chunks, numbers, strict=True):
            kept.append(values.astype(np.float32))
    return Luminance(*(np.concatenate(kept) for kept in chunks))
