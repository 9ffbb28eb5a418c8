"""Metrics whose values in a region violate one rule each, and some that violate none."""

from __future__ import annotations

from typing import ClassVar

import pytest
import torch

from enface import Metric, weighted_mean
from enface_tools.conformance.metrics import REGION_RULES

CARD = {"implementation": "enface", "data_range": "1", "crop": "none"}


class Absolute(Metric):
    higher_is_better = False
    card: ClassVar[dict[str, str]] = CARD

    def map(self, output, target):
        return (output - target).abs()

    def forward(self, output, target):
        return self.map(output, target).flatten(1).mean(1)


class Decibels(Metric):
    """Has no map, but regional values."""

    higher_is_better = True
    card: ClassVar[dict[str, str]] = CARD

    def regional(self, output, target, weights):
        return -10 * weighted_mean((output - target).square(), weights).clamp(min=1e-10).log10()

    def forward(self, output, target):
        return self.regional(output, target, torch.ones_like(output[:1, :1]))[:, 0]


class Whole(Absolute):
    """Has neither a map nor regional values."""

    map = Metric.map

    def forward(self, output, target):
        return (output - target).abs().flatten(1).mean(1)


class Summed(Absolute):
    def regional(self, output, target, weights):
        return (self.map(output, target).mean(1, keepdim=True) * weights).flatten(2).sum(2)


class Heavy(Absolute):
    def regional(self, output, target, weights):
        return super().regional(output, target, weights) * weights.amax()


class Squared(Absolute):
    def regional(self, output, target, weights):
        return super().regional(output, target, weights).square()


class Deaf(Absolute):
    """Ignores the region."""

    def regional(self, output, target, weights):
        return self(output, target)[:, None] + 0 * weights.flatten(2).sum(2)


class Mirrored(Absolute):
    def regional(self, output, target, weights):
        return super().regional(output, target, weights.flip(-1))


class Zero(Absolute):
    """Gives an image without a region 0."""

    def regional(self, output, target, weights):
        return super().regional(output, target, weights).nan_to_num(0)


class FirstRegion(Absolute):
    """Uses the first image's region for all."""

    def regional(self, output, target, weights):
        values = super().regional(output, target, weights[:1])
        return torch.where(weights.flatten(2).any(2), values, torch.nan)


class OneNumber(Absolute):
    def regional(self, output, target, weights):
        return super().regional(output, target, weights).mean()


class Counting(Absolute):
    """A region's value depends on its place among the others."""

    def regional(self, output, target, weights):
        values = super().regional(output, target, weights)
        return values * torch.arange(1, weights.shape[1] + 1)


class Normalising(Absolute):
    def regional(self, output, target, weights):
        weights /= weights.sum((-2, -1), keepdim=True)
        return super().regional(output, target, weights)


@pytest.mark.parametrize("metric", [Absolute, Decibels])
def test_a_valid_metric_passes_every_rule(verdicts, metric):
    assert {item.result for item in verdicts(metric, REGION_RULES).values()} == {"passed"}


def test_a_metric_of_whole_images_is_skipped(verdicts):
    assert {item.result for item in verdicts(Whole, REGION_RULES).values()} == {"skipped"}


@pytest.mark.parametrize(
    ("metric", "rule", "reason"),
    [
        (Summed, "region of the whole image", "every weight 1"),
        (Heavy, "region of the whole image", "every weight 3"),
        (Squared, "region of the whole image", "every weight 1"),
        (OneNumber, "region of the whole image", "regional gives ()"),
        (Counting, "region of the whole image", "given twice"),
        (Deaf, "only the region counts", "only the region may count"),
        (Mirrored, "only the region counts", "does not measure changes"),
        (Zero, "a region for each image", "only the third image"),
        (FirstRegion, "a region for each image", "with other regions in the batch"),
        (Normalising, "region weights unchanged", "weights in place"),
    ],
)
def test_a_violation_is_reported_with_its_reason(failure, metric, rule, reason):
    assert reason in failure(metric, REGION_RULES, rule)
