"""Metrics of sets and galleries that break a rule each, and two that keep all."""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np
import pytest
import torch

from enface import GalleryMetric, SetMetric
from enface_tools.conformance.feature_metrics import FEATURE_RULES
from enface_tools.conformance.metric_regions import PART_RULES
from enface_tools.conformance.metrics import METRIC_RULES

CARD = {"implementation": "enface", "data_range": "1", "crop": "none"}


class Means(SetMetric):
    """How far apart the mean images of two sets are."""

    higher_is_better = False
    bounds = (0.0, math.inf)
    card: ClassVar[dict[str, str]] = CARD

    def features(self, image):
        return torch.nn.functional.avg_pool2d(image, 8).flatten(1)

    def distance(self, outputs, targets):
        return float(np.linalg.norm(outputs.mean(0) - targets.mean(0)))


class Nearest(GalleryMetric):
    """1 where the nearest image is of the same person."""

    higher_is_better = True
    bounds = (0.0, 1.0)
    card: ClassVar[dict[str, str]] = CARD

    def features(self, image):
        return torch.nn.functional.avg_pool2d(image, 8).flatten(1)

    def matched(self, outputs, identities, gallery, gallery_identities):
        apart = np.linalg.norm(outputs[:, None] - gallery[None], axis=-1)
        return (gallery_identities[apart.argmin(1)] == identities).astype(np.float32)


class Mapped(Means):
    def features(self, image):
        return image


class Infinite(Means):
    def features(self, image):
        return super().features(image).log() - math.inf


class Longer(Means):
    def features(self, image):
        found = super().features(image)
        return found[:, : 5 + int(image.mean() > 0.5)]


class Whitened(Means):
    def features(self, image):
        return super().features(image) / (1e-3 + image.std(0, correction=0).mean())


class Random(Means):
    def features(self, image):
        return super().features(image) * (1 + 0.1 * torch.rand(()))


class InPlace(Means):
    def features(self, image):
        return super().features(image.mul_(2))


class Blind(Means):
    def features(self, image):
        return torch.ones(len(image), 5)


class Offset(Means):
    def distance(self, outputs, targets):
        return super().distance(outputs, targets) + 1


class Prejudiced(Means):
    """A little noise is best."""

    bounds = None

    def distance(self, outputs, targets):
        return abs(super().distance(outputs, targets) - 1.0)


class Backwards(Means):
    higher_is_better = True
    bounds = None


class Bounded(Means):
    bounds = (0.0, 0.1)


class Ordered(Means):
    """It compares image by image."""

    def distance(self, outputs, targets):
        return float(np.abs(outputs - targets).mean())


class Sorting(Means):
    def distance(self, outputs, targets):
        outputs.sort(axis=0)
        return super().distance(outputs, targets)


class Inverted(Nearest):
    def matched(self, *given):
        return 1 - super().matched(*given)


class Generous(Nearest):
    def matched(self, *given):
        return np.ones_like(super().matched(*given))


class Percent(Nearest):
    bounds = None

    def matched(self, *given):
        return super().matched(*given).astype(np.float64) * 100


class Scattered(Nearest):
    """It gives the place in the gallery away."""

    bounds = None

    def matched(self, outputs, identities, gallery, gallery_identities):
        found = super().matched(outputs, identities, gallery, gallery_identities)
        return found * (gallery_identities == identities[0]).argmax().astype(np.float32)


class Numbered(Nearest):
    """It takes people for numbers."""

    def matched(self, outputs, identities, gallery, gallery_identities):
        people = gallery_identities.astype(int)
        return super().matched(outputs, identities, gallery, people)


@pytest.mark.parametrize(
    ("metric", "asked"),
    [
        (Means, ("features", "features of each image", "equal sets", "distorted sets", "order in a set")),
        (Nearest, ("features", "features of each image", "gallery", "order in a gallery")),
    ],
)
def test_a_sound_metric_breaks_no_rule(verdicts, metric, asked):
    found = verdicts(metric, (*METRIC_RULES, *PART_RULES, *FEATURE_RULES))
    assert {name: item.why for name, item in found.items() if item.result == "broken"} == {}
    held = {name for name, item in found.items() if item.result == "holds"}
    assert held - {"features on CUDA"} == {*asked, "card"}, "its forward is never called"


@pytest.mark.parametrize(
    ("metric", "rule", "words"),
    [
        (Mapped, "features", "(4, D)"),
        (Infinite, "features", "not finite"),
        (Longer, "features", "for some images it gives 5 features, for others 6"),
        (Whitened, "features of each image", "than in a batch"),
        (Random, "features of each image", "second time"),
        (InPlace, "features of each image", "the images in place"),
        (Blind, "features of each image", "unlike images"),
        (Offset, "equal sets", "its best value is said to be 0"),
        (Prejudiced, "equal sets", "nearer to the targets than they are themselves"),
        (Backwards, "distorted sets", "higher is better"),
        (Bounded, "distorted sets", "outside 0 to 0.1"),
        (Ordered, "order in a set", "in another order"),
        (Sorting, "order in a set", "in place"),
        (Inverted, "gallery", "images that are in the gallery get"),
        (Generous, "gallery", "do as well as"),
        (Percent, "gallery", "float64"),
        (Scattered, "order in a gallery", "in another order"),
        (Numbered, "order in a gallery", "ValueError"),
    ],
)
def test_a_metric_that_breaks_a_rule_is_told_so(broken, metric, rule, words):
    assert words in broken(metric, FEATURE_RULES, rule)
