"""Perceptual hashes, and a search for close ones that does not compare all pairs."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import imagehash
import numpy as np
import numpy.typing as npt
from PIL import Image

from enface.system.messages import Progress

Hashes = npt.NDArray[np.uint64]
IndexPairs = npt.NDArray[np.int64]
BITS = 64
MAX_BITS = 16
BLOCK = 2048


def perceptual_hashes(
    images: npt.NDArray[np.uint8], rows: npt.NDArray[np.int64], progress: Progress | None = None
) -> Hashes:
    """Compute the 64-bit DCT hash (pHash, as in the ``imagehash`` library) of some images.

    Args:
        images: uint8 (N, 3, H, W).
        rows: int64 (M,), the images to hash.
        progress: Receives the number of images done and in all.

    Returns:
        uint64 (M,).
    """
    hashes = np.zeros(len(rows), np.uint64)
    weights = 1 << np.arange(BITS, dtype=np.uint64)
    for index, row in enumerate(rows):
        bits = imagehash.phash(Image.fromarray(np.ascontiguousarray(images[row].transpose(1, 2, 0)))).hash
        hashes[index] = weights[bits.ravel()].sum()
        if progress and index % 1000 == 999:
            progress(index + 1, len(rows))
    return hashes


def close_pairs(hashes: Hashes, distance: int) -> Iterator[IndexPairs]:
    """Find all pairs of hashes that differ in at most ``distance`` bits, in blocks; each pair once.

    The 64 bits are cut into ``distance`` + 1 bands. Two such hashes must agree in at least one band, so only hashes
    that share a band's value are compared (Manku et al., "Detecting near-duplicates for web crawling", WWW 2007).
    Memory grows with the number of hashes, never with its square.

    Args:
        hashes: uint64 (N,).
        distance: 0 to 16 bits.

    Yields:
        int64 (M, 2): indices into ``hashes``, the smaller first.
    """
    assert 0 <= distance <= MAX_BITS
    edges = np.linspace(0, BITS, distance + 2).round().astype(int)
    masks = [np.uint64((1 << int(end)) - (1 << int(start))) for start, end in pairwise(edges)]
    for band, mask in enumerate(masks):
        values = hashes & mask
        order = np.argsort(values, kind="stable")
        starts = np.flatnonzero(np.diff(values[order], prepend=~values[order[:1]]))
        lengths = np.diff(np.append(starts, len(order)))
        for start, length in zip(starts[lengths > 1], lengths[lengths > 1], strict=True):
            yield from _within(hashes, order[start : start + length], distance, masks[:band])


def _within(
    hashes: Hashes, indices: npt.NDArray[np.int64], distance: int, earlier: list[np.uint64]
) -> Iterator[IndexPairs]:
    """Close pairs among ``indices``, except pairs that agree in an earlier band, which were yielded there."""
    for first in range(0, len(indices), BLOCK):
        left = indices[first : first + BLOCK]
        for second in range(first, len(indices), BLOCK):
            right = indices[second : second + BLOCK]
            near = np.bitwise_count(hashes[left, None] ^ hashes[None, right]) <= distance
            if first == second:
                near = np.triu(near, 1)
            row, column = np.nonzero(near)
            if not len(row):
                continue
            pairs = np.stack([left[row], right[column]], 1)
            differ = hashes[pairs[:, 0]] ^ hashes[pairs[:, 1]]
            new = np.ones(len(pairs), bool)
            for mask in earlier:
                new &= (differ & mask) != 0
            if new.any():
                yield np.sort(pairs[new], axis=1)
