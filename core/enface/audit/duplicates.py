"""Images that occur twice: across splits, and as two people within one."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from enface.audit.findings import Finding, Subject, Suspect
from enface.audit.hashes import close_pairs, perceptual_hashes
from enface.sampling import Indices

DEFAULT_BITS = 4
DIFFERENCE = 0.08
BLANK = 3.0
THUMB = 8
CHUNK_BYTES = 2**25
Measure = npt.NDArray[np.float32]


def duplicates(
    subject: Subject, bits: int = DEFAULT_BITS, progress: Callable[[int, int], None] | None = None
) -> Finding:
    """Identical and near-identical images of different splits, or of different identities in one split.

    Identical ones are found by digest. Near ones are found by perceptual hash and then compared pixel by pixel,
    for aligned faces have hashes as alike as copies have: both images are brought to mean 0 and mean absolute
    deviation 1, and the mean absolute difference of what is left must be at most 0.08. JPEG of quality 75 or
    a resize to three quarters and back makes 0.04 to 0.07 of a photograph at 64 pixels, a change of brightness or
    contrast next to nothing, another person of the synthetic population 0.09 at least.

    It sees recompressed, rescaled, brightened and slightly retouched copies. It does not see copies that are
    mirrored, cropped or moved by a pixel or more, nor a person under two names. Blank images are left to
    ``exposure``.

    Severity: *error* across splits, *warning* between identities of one split, *note* for the very same image
    twice of one person. A suspect's ``value`` is the difference of the pixels, 0 for identical images.

    Args:
        subject: The pairs.
        bits: How many of a hash's 64 bits may differ, 0 to 16.
        progress: Called with (images done, images in all).
    """
    rows = np.array([row for row in subject.used if _deviation(subject.images[row]) >= BLANK], np.int64)
    found = _Found(subject)
    unique = _identical(subject, rows, found)
    hashes = perceptual_hashes(subject.images, unique, progress)
    thumbs = _thumbs(subject.images, unique)
    for places in close_pairs(hashes, bits):
        for kind in _Found.KINDS:
            some = places[found.open(kind, unique[places])]
            some = some[_lower_bound(thumbs, some) <= DIFFERENCE * _slack(subject.images.shape[-1])]
            for chunk in _chunks(some, subject.images[0].size):
                # Asked again, for the chunk before may have settled them.
                chunk = chunk[found.open(kind, unique[chunk])]
                pairs = unique[chunk]
                for pair, value in zip(pairs, differences(subject.images, pairs), strict=True):
                    if value <= DIFFERENCE:
                        found.add(kind, int(pair[0]), int(pair[1]), float(value))
    return Finding("duplicates", "the same picture twice", found.suspects())


class _Found:
    """One partner at most for each image and kind, so that many copies of one image make no square of pairs."""

    KINDS = ("split", "identity", "copy")
    _SEVERITY = ("error", "warning", "note")

    def __init__(self, subject: Subject) -> None:
        self._subject = subject
        self._settled = {kind: np.zeros(len(subject.table), bool) for kind in self.KINDS}
        self._suspects: list[tuple[str, int, int, float]] = []

    def kind(self, pairs: Indices) -> npt.NDArray[np.int64]:
        """For pairs (M, 2), which of ``KINDS`` each is."""
        part, identity = self._subject.part[pairs], self._subject.identity[pairs]
        same_part, same_identity = part[:, 0] == part[:, 1], identity[:, 0] == identity[:, 1]
        return np.where(~same_part, 0, np.where(~same_identity, 1, 2)).astype(np.int64)

    def open(self, kind: str, pairs: Indices) -> npt.NDArray[np.bool_]:
        """Which of pairs (M, 2) are of a kind and have an image that is not known as a duplicate of that kind.

        Near copies of one person in one split are none of ours: lights may differ by little.
        """
        if kind == "copy":
            return np.zeros(len(pairs), bool)
        wanted: npt.NDArray[np.bool_] = self.kind(pairs) == self.KINDS.index(kind)
        return wanted & ~self._settled[kind][pairs].all(axis=1)

    def add(self, kind: str, row: int, other: int, value: float) -> None:
        """Remember a pair, unless both its images are known already."""
        if self._settled[kind][[row, other]].all():
            return
        self._settled[kind][[row, other]] = True
        self._suspects.append((kind, row, other, value))

    def suspects(self) -> list[Suspect]:
        """The pairs, the closest first."""
        part, identity = self._subject.part, self._subject.table["identity"].astype(str).to_numpy()
        made = []
        for kind, row, other, value in sorted(self._suspects, key=lambda item: item[3]):
            how = "identical" if value == 0 else f"nearly identical (difference {value:.3f})"
            where = {
                "split": f"in {part[row]} and {part[other]}",
                "identity": f"both in {part[row]}, called {identity[row]} and {identity[other]}",
                "copy": f"twice in {part[row]}, of one person",
            }[kind]
            severity = self._SEVERITY[self.KINDS.index(kind)]
            made.append(Suspect(severity, row, f"{how}, {where}", other, value))
        return made


def _identical(subject: Subject, rows: Indices, found: _Found) -> Indices:
    """Record images that are equal to the byte; the rows that stand for each such image from then on."""
    known: dict[bytes, dict[str, dict[int, int]]] = {}
    for row in map(int, rows):
        digest = hashlib.blake2b(subject.images[row].tobytes(), digest_size=16).digest()
        of_part = known.setdefault(digest, {})
        part, identity = str(subject.part[row]), int(subject.identity[row])
        here = of_part.setdefault(part, {})
        partners = {
            "split": next((next(iter(there.values())) for name, there in of_part.items() if name != part), None),
            "identity": next((other for person, other in here.items() if person != identity), None),
            "copy": here.get(identity),
        }
        for kind, other in partners.items():
            if other is not None:
                found.add(kind, other, row, 0.0)
        # Two people a part are enough to find another part and another person for whoever comes.
        if len(here) < 2:
            here.setdefault(identity, row)
    return np.array(
        sorted(row for parts in known.values() for here in parts.values() for row in here.values()), np.int64
    )


def _deviation(image: npt.NDArray[np.uint8]) -> float:
    return float(image.std())


def _standard(images: npt.NDArray[np.uint8]) -> Measure:
    """Images (M, 3, H, W) at mean 0 and mean absolute deviation 1."""
    plain = images.astype(np.float32)
    plain -= plain.mean(axis=(1, 2, 3), keepdims=True)
    spread = np.abs(plain).mean(axis=(1, 2, 3), keepdims=True)
    plain /= np.maximum(spread, 1)
    return plain


def differences(images: npt.NDArray[np.uint8], pairs: Indices) -> Measure:
    """The mean absolute difference of each pair, both at mean 0 and mean absolute deviation 1.

    Args:
        images: uint8 (N, 3, H, W).
        pairs: int64 (M, 2).

    Returns:
        float32 (M,); 0 for images that differ in brightness and contrast only, about 1 for unlike ones.
    """
    both: Measure = np.abs(_standard(images[pairs[:, 0]]) - _standard(images[pairs[:, 1]])).mean(axis=(1, 2, 3))
    return both


def _thumbs(images: npt.NDArray[np.uint8], rows: Indices) -> Measure:
    """Block means (M, 64) of the grey of standardised images."""
    made = np.zeros((len(rows), THUMB * THUMB), np.float32)
    side = images.shape[-1] // THUMB
    step = max(1, CHUNK_BYTES // (4 * images[0].size))
    for start in range(0, len(rows), step):
        grey = _standard(images[rows[start : start + step]]).mean(axis=1)[:, : THUMB * side, : THUMB * side]
        blocks = grey.reshape(len(grey), THUMB, side, THUMB, side).mean(axis=(2, 4))
        made[start : start + step] = blocks.reshape(len(grey), -1)
    return made


def _lower_bound(thumbs: Measure, pairs: Indices) -> Measure:
    """What the difference of each pair is at least: a mean of differences is no less than a difference of means."""
    bound = np.zeros(len(pairs), np.float32)
    for start in range(0, len(pairs), 100_000):
        some = pairs[start : start + 100_000]
        bound[start : start + len(some)] = np.abs(thumbs[some[:, 0]] - thumbs[some[:, 1]]).mean(axis=1)
    return bound


def _slack(size: int) -> float:
    # The blocks leave out what is over when a size is no multiple of theirs.
    return (size / (THUMB * (size // THUMB))) ** 2


def _chunks(pairs: Indices, values: int) -> list[Indices]:
    step = max(1, CHUNK_BYTES // (4 * values))
    return [pairs[start : start + step] for start in range(0, len(pairs), step)]
