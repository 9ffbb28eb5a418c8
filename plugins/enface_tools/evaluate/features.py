"""Features of all images: each distinct target counts once, and a gallery is separate from its probes."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from enface_tools.evaluate.grid import to_samples
from enface_tools.evaluate.metrics import GalleryMetric, SetMetric

Numbers = npt.NDArray[np.float32]
Indices = npt.NDArray[np.int64]
Digests = npt.NDArray[np.uint64]
Flags = npt.NDArray[np.bool_]


def digests(images: Tensor, depth: int = 8) -> Digests:
    """A digest of the pixels of each image, with ``depth`` bits: (N, C, H, W) in [0, 1] -> (N,)."""
    hashes = [hashlib.blake2b(pixels.tobytes(), digest_size=8).digest() for pixels in to_samples(images, depth)]
    return np.frombuffer(b"".join(hashes), np.uint64)


@dataclass(frozen=True)
class FeatureSet:
    """Features of all outputs and targets by one metric.

    Attributes:
        outputs: (N, D).
        targets: (N, D), of each output's target.
        people: (N,), the person in each output.
        target_digests: (N,); targets of equal pixels are one image.
        source_digests: (N,), of the image that each output was made from; None if unknown.
    """

    outputs: Numbers
    targets: Numbers
    people: npt.NDArray[Any]
    target_digests: Digests
    source_digests: Digests | None = None

    @cached_property
    def distinct(self) -> Indices:
        """The first row of each distinct target, in order."""
        return _first_of_each(self.target_digests)

    @cached_property
    def gallery(self) -> Indices:
        """The row whose target is a person's gallery image, the first of this person that has features, by person."""
        rows = np.flatnonzero(_have_features(self.targets))
        gallery: Indices = rows[_first_of_each(self.people[rows])]
        return gallery

    @cached_property
    def copies(self) -> Flags:
        """True for each output that was made from its own person's gallery image."""
        if self.source_digests is None:
            return np.zeros(len(self.outputs), np.bool_)
        images = dict(zip(self.people[self.gallery], self.target_digests[self.gallery], strict=True))
        pairs = zip(self.people, self.source_digests, strict=True)
        return np.array([images.get(person) == digest for person, digest in pairs], np.bool_)

    @cached_property
    def probes(self) -> Flags:
        """True for each output that is matched: one with features, of a person in the gallery, and no copy."""
        in_gallery = np.isin(self.people, self.people[self.gallery])
        probes: Flags = _have_features(self.outputs) & in_gallery & ~self.copies
        return probes

    def distance(self, metric: SetMetric) -> float:
        """The number of a set metric; NaN if there are too few images."""
        targets = self.distinct
        if min(len(self.outputs), len(targets)) < metric.min_images:
            return float("nan")
        return float(metric.clustered_distance(self.outputs, self.people, self.targets[targets], self.people[targets]))

    def matched(self, metric: GalleryMetric) -> Numbers:
        """The number of each output by a gallery metric; NaN if it is no probe or there are too few people."""
        numbers = np.full(len(self.outputs), np.nan, np.float32)
        rows, gallery = np.flatnonzero(self.probes), self.gallery
        if len(rows) and len(gallery) >= metric.min_people:
            outputs, people = self.outputs[rows], self.people[rows]
            numbers[rows] = metric.matched(outputs, people, self.targets[gallery], self.people[gallery])
        return numbers

    def caveats(self, metric: SetMetric | GalleryMetric) -> list[str]:
        """Sentences to read before the number, without their subject, the metric's name."""
        outputs, targets, people = len(self.outputs), len(self.distinct), len(self.gallery)
        if isinstance(metric, SetMetric):
            if min(outputs, targets) < metric.min_images:
                return [f"has no number: it needs at least {metric.min_images} outputs and different targets."]
            return list(filter(None, [metric.caveat(outputs, targets)]))
        probes, copies = int(self.probes.sum()), int(self.copies.sum())
        sentences = []
        if copies:
            sentences.append(f"leaves out {copies} outputs made from their person's gallery image.")
        if people < metric.min_people:
            sentences.append(f"has no number: its gallery needs at least {metric.min_people} people.")
        elif sentence := metric.caveat(probes, people):
            sentences.append(sentence)
        return sentences


def _have_features(features: Numbers) -> Flags:
    there: Flags = np.logical_not(np.isnan(features).any(axis=1))
    return there


def _first_of_each(values: npt.NDArray[Any]) -> Indices:
    first: Indices = np.unique(values, return_index=True)[1]
    return np.sort(first)
