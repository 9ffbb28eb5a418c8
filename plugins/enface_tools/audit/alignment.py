"""Images that do not look as their labels say: moved, swapped, or no face of that view at all."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from enface_tools.audit.findings import LEAST_IN_GROUP, Finding, Subject, Suspect, robust_limit
from enface_tools.audit.views import Likeness, compare, typical_views

SHIFT = 0.1
SHIFT_TIMES = 4.0
MARGIN = 0.1
MARGIN_TIMES = 3.5
MUTUAL_MARGIN = 0.05
MUTUAL_TIMES = 2.0
UNLIKE_TIMES = 6.0
UNLIKE = 0.15


def misaligned(subject: Subject) -> Finding:
    """Images that are moved, swapped with another view, or unlike all others of their view.

    A view is all images that agree in the columns the recipe's pairs name (pose and light; the role, where that
    is all there is). Its *typical* image is the pixelwise median of edge maps (gradient magnitude of the grey
    image, limited at twice its mean so that a light's shadow does not rule), standardised. Each image is compared
    with the typical ones by correlation, and judged against the spread within its own view:

    - *moved*: the cross-correlation with its own typical image peaks at a shift of more than a tenth of the size,
      and four robust standard deviations, beyond its view's median; there it is more alike than any other view's.
    - *swapped*: it correlates better with another view's typical image than with its own, by more than 0.1, and by
      more than three and a half robust standard deviations beyond its view's median. A target that was swapped
      with its source is found so, a yaw with the wrong sign too. Where two images of one person each fit the
      other's view better, 0.05 and two of these deviations are enough.
    - *unlike*: its correlation with its own typical image, at the best shift, lies 0.15 and six robust standard
      deviations below its view's median: upside down, another thing, a face of another size.

    It cannot see a fault that most images of a view share, a shift below a tenth, two people exchanged at the same
    view, labels wrong by one small step, or anything in views of fewer than 8 images. Where photographs are
    loosely cropped it sees less, for then there is much that is usual.

    Severity: *warning*. A suspect's ``value`` is the shift in pixels, the margin, or the correlation; ``other`` is
    the image that is nearest to its view's typical one.
    """
    typical = typical_views(subject)
    if typical is None:
        remark = f"No view has {LEAST_IN_GROUP} images; nothing was judged."
        return Finding("misaligned", "moved, swapped, unlike its view", [], remark)
    judged = compare(subject, typical)
    suspects = _suspects(subject, judged)
    left_out = len(subject.used) - len(judged.rows)
    remark = f"{len(typical.views)} views by {', '.join(subject.view_columns) or 'nothing'}."
    if left_out:
        remark += f" {left_out} images of views with fewer than {LEAST_IN_GROUP} were not judged."
    return Finding("misaligned", "moved, swapped, unlike its view", suspects, remark)


def _suspects(subject: Subject, judged: Likeness) -> list[Suspect]:
    margin = judged.best - judged.own
    moved_by = np.abs(judged.shift).max(axis=1)
    examples = _examples(judged)
    swapped = _mutual(subject, judged, margin)
    found: list[tuple[float, Suspect]] = []
    for place, example in examples.items():
        here = judged.members(place)
        most_moved = robust_limit(moved_by[here], SHIFT_TIMES, SHIFT * subject.images.shape[-1])
        most_margin = max(MARGIN, robust_limit(margin[here], MARGIN_TIMES, 0.0))
        least_peak = -robust_limit(-judged.peak[here], UNLIKE_TIMES, UNLIKE)
        for one in map(int, here):
            row = int(judged.rows[one])
            view = subject.view_name(row)
            # A moved image is unlike its view where it lies, and a swapped one has no place in it: what explains
            # the image better is told, its own view at another place or another view at this place.
            if moved_by[one] > most_moved and judged.peak[one] >= judged.best[one]:
                detail = f"moved {_direction(judged.shift[one])} against what is usual for {view}"
                suspect = Suspect("warning", row, detail, example, float(moved_by[one]))
                found.append((float(moved_by[one] / most_moved), suspect))
            elif one in swapped:
                other = int(judged.rows[swapped[one]])
                detail = f"labelled {view}, looks swapped with the same person at {subject.view_name(other)}"
                suspect = Suspect("warning", row, detail, other, float(margin[one]))
                found.append((float(max(1, margin[one] / most_margin)), suspect))
            elif margin[one] > most_margin:
                detail = f"labelled {view}, looks like {subject.view_name(examples[int(judged.rival[one])])}"
                suspect = Suspect("warning", row, detail, example, float(margin[one]))
                found.append((float(margin[one] / most_margin), suspect))
            elif judged.peak[one] < least_peak:
                detail = f"unlike the other images of {view} (correlation {judged.peak[one]:.2f})"
                found.append((1.0, Suspect("warning", row, detail, example, float(judged.peak[one]))))
    return [suspect for _, suspect in sorted(found, key=lambda item: -item[0])]


def _examples(judged: Likeness) -> dict[int, int]:
    """For each view the row that is most like its typical image."""
    members = {place: judged.members(place) for place in range(judged.views.shape[1])}
    return {place: int(judged.rows[here[judged.own[here].argmax()]]) for place, here in members.items()}


def _mutual(subject: Subject, judged: Likeness, margin: npt.NDArray[np.floating]) -> dict[int, int]:
    """Images of one person that each fit the other's view better than their own; each has its best match."""
    limits = np.array(
        [
            max(MUTUAL_MARGIN, robust_limit(margin[judged.members(place)], MUTUAL_TIMES, 0.0))
            for place in range(judged.views.shape[1])
        ]
    )
    limit = limits[judged.place]
    candidates = np.flatnonzero(margin > limit)
    identity = subject.identity[judged.rows]
    matches: dict[int, int] = {}
    for person in np.unique(identity[candidates]):
        here = candidates[identity[candidates] == person]
        # gain[i, j]: how much better image i fits the view of image j than its own.
        gain = judged.views[np.ix_(here, judged.place[here])] - judged.own[here][:, None]
        both = np.minimum(gain - limit[here][:, None], (gain - limit[here][:, None]).T)
        for one, other in enumerate(both.argmax(axis=1)):
            if both[one, other] > 0:
                matches[int(here[one])] = int(here[other])
    return matches


def _direction(shift: npt.NDArray[np.int64]) -> str:
    down, right = map(int, shift)
    words = [f"{abs(down)} px {'down' if down > 0 else 'up'}"] if down else []
    if right:
        words.append(f"{abs(right)} px {'right' if right > 0 else 'left'}")
    return " and ".join(words)
