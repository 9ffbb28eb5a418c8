"""Images that occur twice: across splits, and as two people within one."""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt

from enface.data.pairs import Indices
from enface.system.messages import Progress
from enface_tools.audit.findings import BLANK, GREY, AuditedData, Finding, Suspect
from enface_tools.audit.hashes import close_pairs, perceptual_hashes

DEFAULT_BITS = 4
MAX_DIFFERENCE = 0.06
GRID = 16
CHUNK = 1024
KINDS = {"split": "error", "identity": "warning", "copy": "note"}
"""Severity by kind of duplicate: two splits; two people in one split; one person twice in one split."""
# Near copies of one person in one split are no fault: two lights may differ by little.
NEAR_KINDS = ("split", "identity")

Differences = npt.NDArray[np.float32]


def duplicates(data: AuditedData, bits: int = DEFAULT_BITS, progress: Progress | None = None) -> Finding:
    """Find identical and near-identical images of different splits, or of different identities in one split.

    Identical images are detected by digest. Near ones are detected by perceptual hash and compared, because hashes of
    aligned faces are as similar as those of copies: the luminance of both is reduced to 16 x 16 block means, brought
    to mean 0 and mean absolute deviation 1, and the mean absolute difference must be at most 0.06. In photographs at
    64 pixels, JPEG of quality 75 causes at most 0.012, and resizing to half and back 0.021; in synthetic heads 0.048
    and 0.052 for all but the darkest twentieth; a change of brightness or contrast causes almost none. Two people
    whose hashes are close differ by at least 0.08 in the synthetic population (99 of 100 by 0.136), by 0.19 in
    photographs.

    It finds recompressed, rescaled, brightened and slightly retouched copies. It does not find copies that are
    mirrored, cropped or moved by a pixel or more, nor a person under two names. Blank images are left to
    ``exposure``.

    Severity: *error* across splits, *warning* between identities of one split, *note* for the very same image twice
    of one person. A suspect's ``value`` is the difference of the pixels, 0 for identical images.

    Args:
        bits: Of a hash's 64 bits, how many may differ, 0 to 16.
        progress: Receives the number of images done and in all.
    """
    rows = np.array([row for row in data.used if _deviation(data.images[row]) >= BLANK], np.int64)
    known = _DuplicatePairs(data)
    unique = _identical(data, rows, known)
    hashes = perceptual_hashes(data.images, unique, progress)
    blocks = coarse(data.images, unique)
    for close in close_pairs(hashes, bits):
        for kind in NEAR_KINDS:
            pairs = close[known.is_open(kind, unique[close])]
            for start in range(0, len(pairs), CHUNK):
                chunk = pairs[start : start + CHUNK]
                # Checked again, because earlier pairs may have settled these.
                chunk = chunk[known.is_open(kind, unique[chunk])]
                apart = differences(blocks, chunk)
                for index in np.flatnonzero(apart <= MAX_DIFFERENCE):
                    row, other = map(int, unique[chunk[index]])
                    known.add(kind, row, other, float(apart[index]))
    return Finding("duplicates", "the same picture twice", known.suspects())


class _DuplicatePairs:
    """Pairs of duplicates: at most one partner per image and kind, so that N copies do not give N x N pairs."""

    def __init__(self, data: AuditedData) -> None:
        self._data = data
        self._settled = {kind: np.zeros(len(data.table), bool) for kind in KINDS}
        self._pairs: list[tuple[str, int, int, float]] = []

    def kinds(self, pairs: Indices) -> npt.NDArray[np.int64]:
        """Return the kind of each pair: (M, 2) rows -> (M,) indices into ``KINDS``."""
        part, identity = self._data.part[pairs], self._data.identity[pairs]
        same_part, same_identity = part[:, 0] == part[:, 1], identity[:, 0] == identity[:, 1]
        return np.where(~same_part, 0, np.where(~same_identity, 1, 2)).astype(np.int64)

    def is_open(self, kind: str, pairs: Indices) -> npt.NDArray[np.bool_]:
        """Return a mask of pairs: True if of this kind and not both images are known duplicates of this kind."""
        of_kind: npt.NDArray[np.bool_] = self.kinds(pairs) == list(KINDS).index(kind)
        return of_kind & ~self._settled[kind][pairs].all(axis=1)

    def add(self, kind: str, row: int, other: int, difference: float) -> None:
        """Add a pair, unless both of its images are known."""
        if self._settled[kind][[row, other]].all():
            return
        self._settled[kind][[row, other]] = True
        self._pairs.append((kind, row, other, difference))

    def suspects(self) -> list[Suspect]:
        """Return the pairs, the closest first."""
        part, identity = self._data.part, self._data.table["identity"].astype(str).to_numpy()
        suspects = []
        for kind, row, other, difference in sorted(self._pairs, key=lambda pair: pair[3]):
            likeness = "identical" if difference == 0 else f"nearly identical (difference {difference:.3f})"
            places = {
                "split": f"{identity[row]} in {part[row]}, {identity[other]} in {part[other]}",
                "identity": f"{identity[row]} and {identity[other]}, both in {part[row]}",
                "copy": f"{identity[row]} twice in {part[row]}",
            }[kind]
            suspects.append(Suspect(KINDS[kind], row, f"{likeness}: {places}", other, difference))
        return suspects


def _identical(data: AuditedData, rows: Indices, known: _DuplicatePairs) -> Indices:
    """Add images with equal bytes; return the rows that represent each such image in the search for near ones."""
    by_digest: dict[bytes, dict[str, dict[int, int]]] = {}
    for row in map(int, rows):
        digest = hashlib.blake2b(data.images[row].tobytes(), digest_size=16).digest()
        by_part = by_digest.setdefault(digest, {})
        part, identity = str(data.part[row]), int(data.identity[row])
        same_part = by_part.setdefault(part, {})
        partners = {
            "split": next((next(iter(people.values())) for name, people in by_part.items() if name != part), None),
            "identity": next((other for person, other in same_part.items() if person != identity), None),
            "copy": same_part.get(identity),
        }
        for kind, other in partners.items():
            if other is not None:
                known.add(kind, other, row, 0.0)
        # Two people per part suffice to find another part and another person for any further image.
        if len(same_part) < 2:
            same_part.setdefault(identity, row)
    return np.array(
        sorted(row for parts in by_digest.values() for people in parts.values() for row in people.values()), np.int64
    )


def _deviation(image: npt.NDArray[np.uint8]) -> float:
    return float(image.std())


def coarse(images: npt.NDArray[np.uint8], rows: Indices) -> npt.NDArray[np.float16]:
    """Reduce luminance to 16 x 16 block means, at mean 0 and mean absolute deviation 1.

    Blocks remove the effect of compression and rescaling on single pixels, and keep what distinguishes people.

    Args:
        images: uint8 (N, 3, H, W).
        rows: int64 (M,), the images to reduce.

    Returns:
        float16 (M, 256).
    """
    down, across = (min(GRID, size) for size in images.shape[-2:])
    high, wide = images.shape[-2] // down, images.shape[-1] // across
    reduced = np.zeros((len(rows), down * across), np.float16)
    for start in range(0, len(rows), CHUNK):
        grey = (images[rows[start : start + CHUNK], :, : down * high, : across * wide] * GREY).sum(axis=1)
        blocks = grey.reshape(-1, down, high, across, wide).mean(axis=(2, 4)).reshape(len(grey), -1)
        blocks -= blocks.mean(axis=1, keepdims=True)
        reduced[start : start + CHUNK] = blocks / np.maximum(np.abs(blocks).mean(axis=1, keepdims=True), 1)
    return reduced


def differences(blocks: npt.NDArray[np.float16], pairs: Indices) -> Differences:
    """Compute the mean absolute difference of each pair of coarse images.

    Args:
        blocks: From :func:`coarse`, (N, D).
        pairs: int64 (M, 2).

    Returns:
        float32 (M,); 0 for images that differ only in brightness and contrast, about 1 for unlike ones.
    """
    difference = blocks[pairs[:, 0]].astype(np.float32) - blocks[pairs[:, 1]].astype(np.float32)
    apart: Differences = np.abs(difference).mean(axis=1)
    return apart
