"""One person under two names, found by a face recogniser."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from enface.data.pairs import Indices, satisfies
from enface.errors import WeightsError
from enface.system.messages import Progress
from enface_plugins.recognisers import open_recogniser
from enface_tools.audit.findings import AuditedData, Finding, Suspect, robust_limit

DEFAULT_FACES = 200
PER_PERSON = 3
DISTANCE = 0.38
TIMES = 3.8
MIN_FACES = 20
"""Faces from which the spread of distances is known well enough to lower the limit."""
ALIKE = 0.2
PATIENCE = 12
"""Images without a face after which the data is taken to show none."""
LOOKS_FOR = "one person under two names"
Distances = npt.NDArray[np.float32]


def same_face(data: AuditedData, faces: int = DEFAULT_FACES, progress: Progress | None = None) -> Finding:
    """Find different identities with one face, in two splits or in one.

    A person under two names in training and test is a leak; in one split, intervals are too narrow. Up to three images
    of each identity, those most like its targets, are described by dlib's recogniser (extra ``identity``). Two
    identities are suspects if any two of their descriptors are closer than 0.38, far below the usual 0.6: that hid the
    few that matter among thousands of pairs of people. With 20 faces or more the limit is at most 3.8 robust standard
    deviations below the median distance of different identities, because rendered heads are more alike: 0.28 in the
    synthetic heads.

    Measured on FRMDB (67 people, yaws -90 to 90, 64 pixels): each person's photographs were divided at random into two
    identities, four times. It found 161 of these 268 people, and reported none of 4 x 8,844 pairs of different people.
    Photographs of other days differ more, so it will find fewer there. It finds nobody in drawings, nor people whose
    face is not detected.

    Severity: *warning* across splits, *note* in one. A suspect's ``value`` is the distance of the descriptors.

    Args:
        faces: Number of images to describe, a tenth of a second each on a core; 0 to skip. If they do not suffice for
            all people, half are of held-out people and half of training people.
        progress: Receives the number of images done and in all.
    """
    if not faces:
        return Finding("same_face", LOOKS_FOR, [], "Skipped.")
    try:
        describe = _descriptor(data)
    except WeightsError:
        remark = 'Skipped: needs pip install "enface[identity]". Copies of a picture are found by duplicates.'
        return Finding("same_face", LOOKS_FOR, [], remark)
    rows, people = _chosen(data, faces)
    kept, embeddings, tried = _described(rows, describe, progress)
    if not len(kept):
        return Finding("same_face", LOOKS_FOR, [], f"No face in the first {tried} images; nothing was compared.")
    apart = torch.cdist(embeddings, embeddings, compute_mode="donot_use_mm_for_euclid_dist").numpy()
    pairs = data.identity[kept][:, None] < data.identity[kept]
    limit = _limit(apart[pairs], len(kept))
    total = len(np.unique(data.identity[data.used]))
    remark = f"{len(kept)} faces in {len(rows)} images of {people} of {total} people; limit {limit:.2f}."
    if limit < ALIKE:
        remark += " The recogniser hardly tells these faces apart, so little can be found."
    return Finding("same_face", LOOKS_FOR, _suspects(data, kept, apart, pairs, limit), remark)


def _described(
    rows: Indices, describe: Callable[[int], Tensor], progress: Progress | None
) -> tuple[Indices, Tensor, int]:
    """The rows with a face, its descriptors (N, D), and the number of images tried; ends early if none shows a face."""
    faces: dict[int, Tensor] = {}
    tried = 0
    for row in map(int, rows):
        descriptor = describe(row)
        if descriptor.isfinite().all():
            faces[row] = descriptor
        tried += 1
        if progress:
            progress(tried, len(rows))
        if tried >= PATIENCE and not faces:
            break
    embeddings = torch.stack(list(faces.values())) if faces else torch.zeros(0, 1)
    return np.array(list(faces), np.int64), embeddings, tried


def _limit(apart: Distances, faces: int) -> float:
    """The distance below which two faces are one: lower if faces of different people are as alike as rendered ones."""
    return DISTANCE if faces < MIN_FACES or not len(apart) else min(DISTANCE, -robust_limit(-apart, TIMES, 0.0))


def _descriptor(data: AuditedData) -> Callable[[int], Tensor]:
    """Return the function from a row to the descriptor of its face, (D,); NaN without a detected face."""
    recogniser = open_recogniser(None, undetected="leave_out")

    def describe(row: int) -> Tensor:
        image = torch.from_numpy(np.ascontiguousarray(data.images[row]))[None].float() / 255
        descriptor: Tensor = recogniser(image)[0]
        return descriptor

    return describe


def _chosen(data: AuditedData, count: int) -> tuple[Indices, int]:
    """At most ``count`` rows, spread evenly over people, and the number of people; those held out come first."""
    held_out = [name for name in data.parts if name != "train"]
    parts = [np.concatenate([data.parts[name] for name in held_out]), data.parts["train"]]
    people = [np.unique(data.identity[rows]) for rows in parts]
    # Held-out people take half of the images at most, unless training people leave some.
    half = max(count // 2, count - len(people[1]))
    quota = (min(len(people[0]), half), count - min(len(people[0]), half))
    chosen = [_spread(names, number) for names, number in zip(people, quota, strict=True)]
    total = sum(map(len, chosen))
    each = min(PER_PERSON, max(1, count // max(1, total)))
    rows = [
        row
        for part, names in zip(parts, chosen, strict=True)
        for name in names
        for row in _images_of(data, part[data.identity[part] == name], each)
    ]
    return np.array(rows, np.int64), total


def _images_of(data: AuditedData, rows: Indices, count: int) -> Indices:
    """The images of one person that are most like targets, whose faces are frontal or sharp."""
    apart = np.zeros(len(rows))
    for column, wanted in data.recipe.pairs.target.where.items():
        values = data.table[column].iloc[rows]
        if values.dtype.kind in "iuf" and isinstance(wanted, int | float):
            spread = float(data.table[column].max() - data.table[column].min()) or 1.0
            apart += np.abs(values.to_numpy() - wanted) / spread
        else:
            apart += ~satisfies(data.table, rows, {column: wanted})
    return rows[np.argsort(apart, kind="stable")[:count]]


def _spread(values: npt.NDArray[Any], count: int) -> npt.NDArray[Any]:
    """At most ``count`` values, evenly spaced."""
    spread: npt.NDArray[Any] = values[np.unique(np.linspace(0, len(values) - 1, min(count, len(values))).astype(int))]
    return spread


def _suspects(
    data: AuditedData, rows: Indices, apart: Distances, pairs: npt.NDArray[np.bool_], limit: float
) -> list[Suspect]:
    """The pairs of identities with close faces, the closest first; each identity with its closest in a kind only.

    Args:
        rows: (N,) the images with faces.
        apart: (N, N) distances of their descriptors.
        pairs: (N, N) True where the identities differ, once for each two images.
    """
    first, second = np.nonzero(pairs & (apart < limit))
    order = np.argsort(apart[first, second], kind="stable")
    suspects: list[Suspect] = []
    settled: set[tuple[bool, int]] = set()
    for index, other_index in zip(first[order], second[order], strict=True):
        row, other = int(rows[index]), int(rows[other_index])
        across = data.part[row] != data.part[other]
        both = {(across, int(data.identity[place])) for place in (row, other)}
        if both <= settled:
            continue
        settled |= both
        suspects.append(_suspect(data, row, other, float(apart[index, other_index])))
    return suspects


def _suspect(data: AuditedData, row: int, other: int, distance: float) -> Suspect:
    names, parts = data.table["identity"].astype(str), data.part
    across = parts[row] != parts[other]
    places = (
        f"{names.iloc[row]} in {parts[row]} and {names.iloc[other]} in {parts[other]}"
        if across
        else f"{names.iloc[row]} and {names.iloc[other]}, both in {parts[row]}"
    )
    detail = f"looks like one person (distance {distance:.2f}): {places}"
    return Suspect("warning" if across else "note", row, detail, other, distance)
