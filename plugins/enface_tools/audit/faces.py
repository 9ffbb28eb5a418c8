"""One person under two names, found by a face recogniser."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from enface.data.pairs import Indices, satisfies
from enface.errors import WeightsError
from enface.system.messages import Progress
from enface_plugins.recognisers import open_recogniser
from enface_tools.audit.findings import AuditedData, Finding, Suspect

DEFAULT_FACES = 200
PER_PERSON = 3
DISTANCE = 0.38
PATIENCE = 12
"""Images without a face after which the data is taken to show none."""
CHUNK = 1024
LOOKS_FOR = "one person under two names"
Embeddings = npt.NDArray[np.float32]


def same_face(data: AuditedData, faces: int = DEFAULT_FACES, progress: Progress | None = None) -> Finding:
    """Find different identities with one face, in two splits or in one.

    A person under two names in training and test is a leak; in one split, intervals are too narrow. Up to three images
    of each identity, those most like its targets, are described by dlib's recogniser (extra ``identity``). Two
    identities are suspects if any two of their descriptors are closer than 0.38, far below the usual 0.6: that hid the
    few that matter among thousands of pairs of people.

    Measured on FRMDB (67 people, yaws -90 to 90, 64 pixels): each person's photographs were divided at random into two
    identities, four times. It found 161 of these 268 people, and reported none of 4 x 8,844 pairs of different people.
    Photographs of other days differ more, so it will find fewer there. It finds nobody in drawings, nor people whose
    face is not detected; rendered heads may look alike.

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
    found = np.zeros((0, 1), np.float32)
    kept: list[int] = []
    for count, row in enumerate(map(int, rows), 1):
        embedding = describe(row)
        if np.isfinite(embedding).all():
            found = np.concatenate([found.reshape(-1, len(embedding)), embedding[None]])
            kept.append(row)
        if progress:
            progress(count, len(rows))
        if count >= PATIENCE and not kept:
            return Finding("same_face", LOOKS_FOR, [], f"No face in the first {count} images; nothing was compared.")
    total = len(np.unique(data.identity[data.used]))
    remark = f"{len(kept)} faces in {len(rows)} images of {people} of {total} people."
    return Finding("same_face", LOOKS_FOR, _suspects(data, np.array(kept, np.int64), found), remark)


def _descriptor(data: AuditedData) -> Callable[[int], Embeddings]:
    """Return the function from a row to the descriptor of its face; NaN without a detected face."""
    recogniser = open_recogniser(None, undetected="leave_out")

    def describe(row: int) -> Embeddings:
        image = torch.from_numpy(np.ascontiguousarray(data.images[row]))[None].float() / 255
        embedding: Embeddings = recogniser(image)[0].numpy().astype(np.float32)
        return embedding

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


def _suspects(data: AuditedData, rows: Indices, embeddings: Embeddings) -> list[Suspect]:
    """The pairs of identities with close faces, the closest first; each identity with its closest in a kind only."""
    pairs: list[tuple[float, int, int]] = []
    for start in range(0, len(rows), CHUNK):
        apart = np.linalg.norm(embeddings[start : start + CHUNK, None] - embeddings[None], axis=2)
        first, second = np.nonzero(
            (apart < DISTANCE) & (data.identity[rows[start : start + CHUNK], None] < data.identity[rows])
        )
        pairs += zip(apart[first, second].tolist(), (start + first).tolist(), second.tolist(), strict=True)
    suspects: list[Suspect] = []
    settled: set[tuple[bool, int]] = set()
    for distance, first_index, second_index in sorted(pairs):
        row, other = int(rows[first_index]), int(rows[second_index])
        across = data.part[row] != data.part[other]
        both = {(across, int(data.identity[place])) for place in (row, other)}
        if both <= settled:
            continue
        settled |= both
        suspects.append(_suspect(data, row, other, distance))
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
