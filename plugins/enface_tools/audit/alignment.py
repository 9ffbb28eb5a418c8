"""Images that do not look like their labels: moved, swapped, or not a face of that view."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from enface_tools.audit.findings import MIN_GROUP, AuditedData, Finding, Suspect, robust_limit
from enface_tools.audit.views import ViewSimilarity, typical_views, view_similarity

SHIFT = 0.1
SHIFT_TIMES = 4.0
MARGIN = 0.1
MARGIN_TIMES = 3.5
MUTUAL_MARGIN = 0.05
MUTUAL_TIMES = 2.0
UNLIKE_TIMES = 6.0
UNLIKE = 0.15
LOOKS_FOR = "moved, swapped, unlike its view"


def misaligned(data: AuditedData) -> Finding:
    """Find images that are moved, swapped with another view, or unlike all others of their view.

    A view is the images that agree in the columns of the recipe's pair rules (pose and light; the role, if that is
    all there is). Its *typical* image is the pixelwise median of edge maps (gradient magnitude of the grey image,
    clipped at twice its mean so that shadows do not dominate), standardised. Each image is compared with the typical
    ones by correlation, relative to the spread within its own view:

    - *moved*: the cross-correlation with its own typical image peaks at a shift that exceeds its view's median by a
      tenth of the shorter side and by four robust standard deviations, and is higher there than with any other view's.
    - *swapped*: it correlates better with another view's typical image than with its own, by more than 0.1 and by
      more than three and a half robust standard deviations above its view's median. This finds a target swapped with
      its source and a yaw with the wrong sign. If two images of one person each fit the other's view better, 0.05 and
      two of these deviations suffice.
    - *unlike*: its correlation with its own typical image, at the best shift, is 0.15 and six robust standard
      deviations below its view's median: upside down, not a face, a face of another size.

    It cannot see a fault that most images of a view share, a shift below a tenth, two people exchanged at the same
    view, labels wrong by one small step, or anything in views of fewer than 8 images. It sees less in loosely
    cropped photographs, which vary more.

    Severity: *warning*. A suspect's ``value`` is the shift in pixels, the margin, or the correlation; ``other`` is
    the image most similar to its view's typical one.
    """
    typical = typical_views(data)
    if typical is None:
        return Finding("misaligned", LOOKS_FOR, [], f"No view has {MIN_GROUP} images; nothing was checked.")
    similarity = view_similarity(data, typical)
    skipped = len(data.used) - len(similarity.rows)
    remark = f"{len(typical.views)} views by {', '.join(data.view_columns) or 'nothing'}."
    if skipped:
        remark += f" {skipped} images of views with fewer than {MIN_GROUP} were not checked."
    return Finding("misaligned", LOOKS_FOR, _suspects(data, similarity), remark)


def _suspects(data: AuditedData, similarity: ViewSimilarity) -> list[Suspect]:
    margin = similarity.best - similarity.own
    shift = np.abs(similarity.shift).max(axis=1)
    examples = _examples(similarity)
    swapped = _mutual(data, similarity, margin)
    ranked: list[tuple[float, Suspect]] = []
    for place, example in examples.items():
        members = similarity.members(place)
        max_shift = robust_limit(shift[members], SHIFT_TIMES, SHIFT * min(data.images.shape[-2:]))
        max_margin = max(MARGIN, robust_limit(margin[members], MARGIN_TIMES, 0.0))
        min_peak = -robust_limit(-similarity.peak[members], UNLIKE_TIMES, UNLIKE)
        for index in map(int, members):
            row = int(similarity.rows[index])
            view = data.view_name(row)
            # A moved image is unlike its view where it is, and a swapped one does not fit it at any shift. The better
            # explanation is reported: the own view at another position, or another view at this position.
            if shift[index] > max_shift and similarity.peak[index] >= similarity.best[index]:
                detail = f"moved {_direction(similarity.shift[index])} relative to the median of {view}"
                suspect = Suspect("warning", row, detail, example, float(shift[index]))
                ranked.append((float(shift[index] / max_shift), suspect))
            elif index in swapped:
                other = int(similarity.rows[swapped[index]])
                detail = f"labelled {view}, looks swapped with the same person at {data.view_name(other)}"
                suspect = Suspect("warning", row, detail, other, float(margin[index]))
                ranked.append((float(max(1, margin[index] / max_margin)), suspect))
            elif margin[index] > max_margin:
                rival = data.view_name(examples[int(similarity.rival[index])])
                suspect = Suspect("warning", row, f"labelled {view}, looks like {rival}", example, float(margin[index]))
                ranked.append((float(margin[index] / max_margin), suspect))
            elif similarity.peak[index] < min_peak:
                detail = f"unlike the other images of {view} (correlation {similarity.peak[index]:.2f})"
                ranked.append((1.0, Suspect("warning", row, detail, example, float(similarity.peak[index]))))
    return [suspect for _, suspect in sorted(ranked, key=lambda item: -item[0])]


def _examples(similarity: ViewSimilarity) -> dict[int, int]:
    """For each view the row most similar to its typical image."""
    members = {place: similarity.members(place) for place in range(similarity.views.shape[1])}
    return {
        place: int(similarity.rows[indices[similarity.own[indices].argmax()]]) for place, indices in members.items()
    }


def _mutual(data: AuditedData, similarity: ViewSimilarity, margin: npt.NDArray[np.floating]) -> dict[int, int]:
    """Images of one person that each fit the other's view better than their own, each with its best match."""
    limits = np.array(
        [
            max(MUTUAL_MARGIN, robust_limit(margin[similarity.members(place)], MUTUAL_TIMES, 0.0))
            for place in range(similarity.views.shape[1])
        ]
    )
    limit = limits[similarity.place]
    candidates = np.flatnonzero(margin > limit)
    identity = data.identity[similarity.rows]
    matches: dict[int, int] = {}
    for person in np.unique(identity[candidates]):
        images = candidates[identity[candidates] == person]
        # gain[i, j]: how much better image i fits the view of image j than its own.
        gain = similarity.views[np.ix_(images, similarity.place[images])] - similarity.own[images][:, None]
        excess = gain - limit[images][:, None]
        both = np.minimum(excess, excess.T)
        for index, match in enumerate(both.argmax(axis=1)):
            if both[index, match] > 0:
                matches[int(images[index])] = int(images[match])
    return matches


def _direction(shift: npt.NDArray[np.int64]) -> str:
    down, right = map(int, shift)
    parts = [f"{abs(down)} px {'down' if down > 0 else 'up'}"] if down else []
    if right:
        parts.append(f"{abs(right)} px {'right' if right > 0 else 'left'}")
    return " and ".join(parts)
