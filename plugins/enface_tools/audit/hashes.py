"""Perceptual hashes, and finding those that are close without comparing all with all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise

import imagehash
import numpy as np
import numpy.typing as npt
from PIL import Image

Hashes = npt.NDArray[np.uint64]
PairsOfPlaces = npt.NDArray[np.int64]
BITS = 64
MOST_BITS = 16
BLOCK = 2048


def perceptual_hashes(
    images: npt.NDArray[np.uint8], rows: npt.NDArray[np.int64], progress: Callable[[int, int], None] | None = None
) -> Hashes:
    """The 64-bit DCT hash (pHash, as the ``imagehash`` library computes it) of some images.

    Args:
        images: uint8 (N, 3, H, W).
        rows: int64 (M,); which of them.
        progress: Called with (images done, images in all).

    Returns:
        uint64 (M,).
    """
    hashes = np.zeros(len(rows), np.uint64)
    weights = 1 << np.arange(BITS, dtype=np.uint64)
    for place, row in enumerate(rows):
        bits = imagehash.phash(Image.fromarray(np.ascontiguousarray(images[row].transpose(1, 2, 0)))).hash
        hashes[place] = weights[bits.ravel()].sum()
        if progress and place % 1000 == 999:
            progress(place + 1, len(rows))
    return hashes


def close_pairs(hashes: Hashes, most: int) -> Iterator[PairsOfPlaces]:
    """All pairs of hashes that differ in at most ``most`` bits, in blocks; each pair once.

    The 64 bits are cut into ``most`` + 1 bands. Two such hashes must agree in one band at least, so only hashes
    that share a band's value are compared (Manku et al., "Detecting near-duplicates for web crawling", WWW 2007).
    Memory grows with the number of hashes, never with its square.

    Args:
        hashes: uint64 (N,).
        most: 0 to 16 bits.

    Yields:
        int64 (M, 2): places in ``hashes``, the smaller first.
    """
    assert 0 <= most <= MOST_BITS
    edges = np.linspace(0, BITS, most + 2).round().astype(int)
    masks = [np.uint64((1 << int(end)) - (1 << int(start))) for start, end in pairwise(edges)]
    for band, mask in enumerate(masks):
        values = hashes & mask
        order = np.argsort(values, kind="stable")
        starts = np.flatnonzero(np.diff(values[order], prepend=~values[order[:1]]))
        lengths = np.diff(np.append(starts, len(order)))
        for start, length in zip(starts[lengths > 1], lengths[lengths > 1], strict=True):
            yield from _within(hashes, order[start : start + length], most, masks[:band])


def _within(
    hashes: Hashes, places: npt.NDArray[np.int64], most: int, earlier: list[np.uint64]
) -> Iterator[PairsOfPlaces]:
    """Close pairs among ``places``, but those that share the value of an earlier band: these were found there."""
    for first in range(0, len(places), BLOCK):
        left = places[first : first + BLOCK]
        for second in range(first, len(places), BLOCK):
            right = places[second : second + BLOCK]
            near = np.bitwise_count(hashes[left, None] ^ hashes[None, right]) <= most
            if first == second:
                near = np.triu(near, 1)
            found = np.argwhere(near)
            if not len(found):
                continue
            pairs = np.stack([left[found[:, 0]], right[found[:, 1]]], 1)
            differ = hashes[pairs[:, 0]] ^ hashes[pairs[:, 1]]
            new = np.ones(len(pairs), bool)
            for mask in earlier:
                new &= (differ & mask) != 0
            if new.any():
                yield np.sort(pairs[new], axis=1)
