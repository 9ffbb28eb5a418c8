"""Images that are blank, clipped, or far too dark or bright."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from enface_tools.audit.findings import BLANK, GREY, LEAST_IN_GROUP, Finding, Subject, Suspect, robust_limit

BLACK, WHITE = 2, 253
CLIPPED_SHARE = 0.2
LUMINANCE = 45.0
TIMES = 5.0
CHUNK = 512


def exposure(subject: Subject) -> Finding:
    """Blank images, and images clipped, dark or bright beyond what their view has.

    Measured on luminance, 0 to 255: *blank* is a standard deviation below 3; *clipped*, a share of pixels with
    every channel at most 2, or every channel at least 253, that exceeds its view's median by 0.2 and by five
    robust standard deviations; *dark* or *bright*, a mean that is as far from its view's median, and 45 levels.
    Images share a view when they agree in the columns that the recipe's pairs name (pose, light); views of fewer
    than 8 images are judged together, as one. It sees single images, not a data set that is badly lit
    throughout: a black backdrop is usual there, and so in order.

    Severity: *error* for blank images, else *warning*. A suspect's ``value`` is the first measure it fell for.
    """
    rows = subject.used
    mean, spread, black, white = _measure(subject.images, rows)
    seen = spread >= BLANK
    said: dict[int, list[tuple[str, float]]] = {}
    for group in _groups(subject.view[rows], seen):
        for share, words in ((black, "black"), (white, "white")):
            limit = robust_limit(share[group], TIMES, CLIPPED_SHARE)
            usual = float(np.median(share[group]))
            for place in group[share[group] > limit]:
                detail = f"{share[place]:.0%} of its pixels are {words}, usual is {usual:.0%}"
                said.setdefault(int(place), []).append((detail, float(share[place])))
        usual = float(np.median(mean[group]))
        limit = robust_limit(mean[group], TIMES, LUMINANCE) - usual
        for place in group[np.abs(mean[group] - usual) > limit]:
            detail = (
                f"{'dark' if mean[place] < usual else 'bright'}: mean luminance {mean[place]:.0f}, usual is {usual:.0f}"
            )
            said.setdefault(int(place), []).append((detail, float(mean[place])))
    suspects = [
        Suspect(
            "error", int(rows[place]), f"blank: one shade of {mean[place]:.0f} all over", None, float(spread[place])
        )
        for place in np.flatnonzero(~seen)
    ]
    for place, details in sorted(said.items()):
        text = "; ".join(detail for detail, _ in details)
        suspects.append(Suspect("warning", int(rows[place]), text, None, details[0][1]))
    remark = f"Median luminance {np.median(mean):.0f} of 255." if len(rows) else ""
    return Finding("exposure", "blank, clipped, dark or bright", suspects, remark)


def _groups(view: npt.NDArray[np.int64], seen: npt.NDArray[np.bool_]) -> list[npt.NDArray[np.int64]]:
    """Places by view, those of too small views together."""
    sizes = np.bincount(view[seen], minlength=int(view.max(initial=0)) + 1)
    view = np.where(sizes[view] >= LEAST_IN_GROUP, view, -1)
    return [np.flatnonzero(seen & (view == number)) for number in np.unique(view[seen])]


def _measure(images: npt.NDArray[np.uint8], rows: npt.NDArray[np.int64]) -> list[npt.NDArray[np.float32]]:
    """Mean and standard deviation of luminance, share of black and of white pixels; (M,) each."""
    found: list[list[npt.NDArray[np.float32]]] = [[], [], [], []]
    for start in range(0, len(rows), CHUNK):
        some = images[rows[start : start + CHUNK]]
        grey = (some * GREY).sum(axis=1)
        values = (
            grey.mean(axis=(1, 2)),
            grey.std(axis=(1, 2)),
            (some.max(axis=1) <= BLACK).mean(axis=(1, 2), dtype=np.float32),
            (some.min(axis=1) >= WHITE).mean(axis=(1, 2), dtype=np.float32),
        )
        for kept, value in zip(found, values, strict=True):
            kept.append(value.astype(np.float32))
    return [np.concatenate(kept) if kept else np.zeros(0, np.float32) for kept in found]
