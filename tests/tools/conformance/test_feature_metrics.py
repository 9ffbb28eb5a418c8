"""Metrics of sets and galleries that violate one rule each, and two that violate none."""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np
import pytest
import torch

from enface import GalleryMetric, SetMetric
from enface_tools.conformance.feature_metrics import FEATURE_METRIC_RULES
from enface_tools.conformance.metrics import METRIC_RULES, REGION_RULES

CARD = {"implementation": "enface", "data_range": "1", "crop": "none"}


class Means(SetMetric):
    """Distance between the mean images of two sets."""

    higher_is_better = False
    bounds = (0.0, math.inf)
    card: ClassVar[dict[str, str]] = CARD

    def features(self, image):
        return torch.nn.functional.avg_pool2d(image, 8).flatten(1)

    def distance(self, outputs, targets):
        return float(np.linalg.norm(outputs.mean(0) - targets.mean(0)))


class Nearest(GalleryMetric):
    """1 if the nearest image is of the same person."""

    higher_is_better = True
    bounds = (0.0, 1.0)
    card: ClassVar[dict[str, str]] = CARD

    def features(self, image):
        return torch.nn.functional.avg_pool2d(image, 8).flatten(1)

    def matched(self, outputs, identities, gallery, gallery_identities):
        distances = np.linalg.norm(outputs[:, None] - gallery[None], axis=-1)
        return (gallery_identities[distances.argmin(1)] == identities).astype(np.float32)


class Mapped(Means):
    def features(self, image):
        return image


class Infinite(Means):
    def features(self, image):
        return super().features(image).log() - math.inf


class Longer(Means):
    def features(self, image):
        features = super().features(image)
        return features[:, : 5 + int(image.mean() > 0.5)]


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
    """Prefers a little noise."""

    bounds = None

    def distance(self, outputs, targets):
        return abs(super().distance(outputs, targets) - 1.0)


class Backwards(Means):
    higher_is_better = True
    bounds = None


class Bounded(Means):
    bounds = (0.0, 0.1)


class Ordered(Means):
    """Compares the sets image by image."""

    def distance(self, outputs, targets):
        return float(np.abs(outputs - targets).mean())


class Sorting(Means):
    def distance(self, outputs, targets):
        outputs.sort(axis=0)
        return super().distance(outputs, targets)


class Verified(Nearest):
    """1 if the own image is nearer than all but one in ten of all other distances."""

    pooled = True

    def matched(self, outputs, identities, gallery, gallery_identities):
        distances = np.linalg.norm(outputs[:, None] - gallery[None], axis=-1)
        own = identities[:, None] == gallery_identities[None]
        threshold = np.quantile(distances[~own], 0.1) if (~own).any() else 0.0
        return (np.where(own, distances, np.inf).min(1) < threshold).astype(np.float32)


class Undeclared(Verified):
    """Does not declare that other probes matter."""

    pooled = False

    def matched(self, outputs, *given):
        return super().matched(outputs, *given) * np.float32(len(outputs) > 1)


class Demanding(Nearest):
    """Needs more images than the tests have."""

    def caveat(self, outputs, references):
        return "has no number: it needs 1,000 outputs."

    def matched(self, *given):
        return np.full_like(super().matched(*given), np.nan)


class Silent(Demanding):
    def caveat(self, outputs, references):
        return ""


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
    """Depends on the place in the gallery."""

    bounds = None

    def matched(self, outputs, identities, gallery, gallery_identities):
        values = super().matched(outputs, identities, gallery, gallery_identities)
        return values * (gallery_identities == identities[0]).argmax().astype(np.float32)


class Numbered(Nearest):
    """Takes identities for numbers."""

    def matched(self, outputs, identities, gallery, gallery_identities):
        people = gallery_identities.astype(int)
        return super().matched(outputs, identities, gallery, people)


@pytest.mark.parametrize(
    ("metric", "rules"),
    [
        (Means, ("features", "features independent of the batch", "equal sets", "distorted sets", "order in a set")),
        (Nearest, ("features", "features independent of the batch", "gallery", "order in a gallery")),
        (Verified, ("features", "features independent of the batch", "gallery", "order in a gallery")),
        (Demanding, ("features", "features independent of the batch")),
    ],
)
def test_a_valid_metric_passes_every_rule(verdicts, metric, rules):
    results = verdicts(metric, (*METRIC_RULES, *REGION_RULES, *FEATURE_METRIC_RULES))
    assert {name: item.why for name, item in results.items() if item.result == "failed"} == {}
    passed = {name for name, item in results.items() if item.result == "passed"}
    assert passed - {"features on CUDA"} == {*rules, "card", "not square", "planes"}, "its forward is never called"


@pytest.mark.parametrize(
    ("metric", "rule", "reason"),
    [
        (Mapped, "features", "(4, D)"),
        (Infinite, "features", "not finite"),
        (Longer, "features", "for some images it gives 5 features, for others 6"),
        (Whitened, "features independent of the batch", "than in a batch"),
        (Random, "features independent of the batch", "second time"),
        (InPlace, "features independent of the batch", "the images in place"),
        (Blind, "features independent of the batch", "different images"),
        (Offset, "equal sets", "its declared best value is 0"),
        (Prejudiced, "equal sets", "nearer to the targets than the targets"),
        (Backwards, "distorted sets", "higher is better"),
        (Bounded, "distorted sets", "outside 0 to 0.1"),
        (Ordered, "order in a set", "in another order"),
        (Sorting, "order in a set", "in place"),
        (Inverted, "gallery", "images that are in the gallery get"),
        (Generous, "gallery", "do as well as"),
        (Percent, "gallery", "float64"),
        (Scattered, "order in a gallery", "in another order"),
        (Undeclared, "order in a gallery", "only probe"),
        (Silent, "gallery", "state it by caveat"),
        (Numbered, "order in a gallery", "ValueError"),
    ],
)
def test_a_violation_is_reported_with_its_reason(failure, metric, rule, reason):
    assert reason in failure(metric, FEATURE_METRIC_RULES, rule)
