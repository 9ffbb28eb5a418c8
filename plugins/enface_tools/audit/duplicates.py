"""Images that occur twice: across splits, and as two people within one."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from enface.data.pairs import Indices
from enface_tools.audit.findings import BLANK, GREY, Finding, Subject, Suspect
from enface_tools.audit.hashes import close_pairs, perceptual_hashes

DEFAULT_BITS = 4
DIFFERENCE = 0.06
GRID = 16
CHUNK = 1024
Measure = npt.NDArray[np.float32]


def duplicates(
    subject: Subject, bits: int = DEFAULT_BITS, progress: Callable[[int, int], None] | None = None
) -> Finding:
    """Identical and near-identical images of different splits, or of different identities in one split.

    Identical ones are found by digest. Near ones are found by perceptual hash and then compared, for aligned
    faces have hashes as alike as copies have: the luminance of both is reduced to 16 x 16 block means, brought to
    mean 0 and mean absolute deviation 1, and the mean absolute difference of what is left must be at most 0.06. Of
    photographs at 64 pixels, JPEG of quality 75 makes 0.012 at most, half the size and back 0.021; of synthetic
    heads 0.048 and 0.052 for all but the darkest twentieth; a change of brightness or contrast makes next to
    nothing. Two people whose hashes are close differ by 0.08 at least in the synthetic population (99 of 100 by
    0.136), by 0.19 in photographs.

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
    blocks = coarse(subject.images, unique)
    for places in close_pairs(hashes, bits):
        for kind in _Found.NEAR_KINDS:
            some = places[found.open(kind, unique[places])]
            for start in range(0, len(some), CHUNK):
                # Asked again, for the pairs before may have settled them.
                these = some[start : start + CHUNK]
                these = these[found.open(kind, unique[these])]
                apart = differences(blocks, these)
                for place in np.flatnonzero(apart <= DIFFERENCE):
                    row, other = map(int, unique[these[place]])
                    found.add(kind, row, other, float(apart[place]))
    return Finding("duplicates", "the same picture twice", found.suspects())


class _Found:
    """One partner at most for each image and kind, so that many copies of one image make no square of pairs."""

    # Near copies of one person in one split are none of ours: two lights may differ by little.
    KINDS = ("split", "identity", "copy")
    NEAR_KINDS = KINDS[:2]
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
        """Which of pairs (M, 2) are of a kind and have an image that is not known as a duplicate of that kind."""
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
                "split": f"{identity[row]} in {part[row]}, {identity[other]} in {part[other]}",
                "identity": f"{identity[row]} and {identity[other]}, both in {part[row]}",
                "copy": f"{identity[row]} twice in {part[row]}",
            }[kind]
            severity = self._SEVERITY[self.KINDS.index(kind)]
            made.append(Suspect(severity, row, f"{how}: {where}", other, value))
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


def coarse(images: npt.NDArray[np.uint8], rows: Indices) -> npt.NDArray[np.float16]:
    """Luminance as 16 x 16 block means, at mean 0 and mean absolute deviation 1.

    Blocks take away what compression and rescaling do to single pixels, and leave what tells people apart.

    Args:
        images: uint8 (N, 3, H, W).
        rows: int64 (M,); which of them.

    Returns:
        float16 (M, 256).
    """
    size = images.shape[-1]
    grid = min(GRID, size)
    side = size // grid
    made = np.zeros((len(rows), grid * grid), np.float16)
    for start in range(0, len(rows), CHUNK):
        grey = (images[rows[start : start + CHUNK], :, : grid * side, : grid * side] * GREY).sum(axis=1)
        blocks = grey.reshape(-1, grid, side, grid, side).mean(axis=(2, 4)).reshape(len(grey), -1)
        blocks -= blocks.mean(axis=1, keepdims=True)
        made[start : start + CHUNK] = blocks / np.maximum(np.abs(blocks).mean(axis=1, keepdims=True), 1)
    return made


def differences(blocks: npt.NDArray[np.float16], pairs: Indices) -> Measure:
    """The mean absolute difference of each pair of coarse images.

    Args:
        blocks: What ``coarse`` gives, (N, D).
        pairs: int64 (M, 2).

    Returns:
        float32 (M,); 0 for images that differ in brightness and contrast only, about 1 for unlike ones.
    """
    both = blocks[pairs[:, 0]].astype(np.float32) - blocks[pairs[:, 1]].astype(np.float32)
    apart: Measure = np.abs(both).mean(axis=1)
    return apart
