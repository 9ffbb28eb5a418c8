"""Metrics that measure a part of an image wrongly, and some that do it right."""

from __future__ import annotations

from typing import ClassVar

import pytest
import torch

from enface import Metric, weighted_mean
from enface_tools.conformance.metric_regions import PART_RULES

CARD = {"implementation": "enface", "data_range": "1", "crop": "none"}


class Absolute(Metric):
    higher_is_better = False
    card: ClassVar[dict[str, str]] = CARD

    def map(self, output, target):
        return (output - target).abs()

    def forward(self, output, target):
        return self.map(output, target).flatten(1).mean(1)


class Decibels(Metric):
    """Without a map, and with a part."""

    higher_is_better = True
    card: ClassVar[dict[str, str]] = CARD

    def regional(self, output, target, weights):
        return -10 * weighted_mean((output - target).square(), weights).clamp(min=1e-10).log10()

    def forward(self, output, target):
        return self.regional(output, target, torch.ones_like(output[:1, :1]))[:, 0]


class Whole(Absolute):
    """It has no map and no part."""

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
    """The part does not matter to it."""

    def regional(self, output, target, weights):
        return self(output, target)[:, None] + 0 * weights.flatten(2).sum(2)


class Mirrored(Absolute):
    def regional(self, output, target, weights):
        return super().regional(output, target, weights.flip(-1))


class Zero(Absolute):
    """An image without a part gets 0."""

    def regional(self, output, target, weights):
        return super().regional(output, target, weights).nan_to_num(0)


class FirstPart(Absolute):
    """Everybody gets the first image's part."""

    def regional(self, output, target, weights):
        found = super().regional(output, target, weights[:1])
        return torch.where(weights.flatten(2).any(2), found, torch.nan)


class OneNumber(Absolute):
    def regional(self, output, target, weights):
        return super().regional(output, target, weights).mean()


class Counting(Absolute):
    """What it says of a part depends on its place among the others."""

    def regional(self, output, target, weights):
        found = super().regional(output, target, weights)
        return found * torch.arange(1, weights.shape[1] + 1)


class Normalising(Absolute):
    def regional(self, output, target, weights):
        weights /= weights.sum((-2, -1), keepdim=True)
        return super().regional(output, target, weights)


@pytest.mark.parametrize("metric", [Absolute, Decibels])
def test_a_sound_metric_breaks_no_rule(verdicts, metric):
    assert {item.result for item in verdicts(metric, PART_RULES).values()} == {"holds"}


def test_a_metric_of_whole_images_is_not_asked(verdicts):
    assert {item.result for item in verdicts(Whole, PART_RULES).values()} == {"not asked"}


@pytest.mark.parametrize(
    ("metric", "rule", "words"),
    [
        (Summed, "all of the image is a part of it", "every weight 1"),
        (Heavy, "all of the image is a part of it", "every weight 3"),
        (Squared, "all of the image is a part of it", "every weight 1"),
        (OneNumber, "all of the image is a part of it", "within gives ()"),
        (Counting, "all of the image is a part of it", "asked for twice"),
        (Deaf, "a part is not the rest", "only what lies in the part"),
        (Mirrored, "a part is not the rest", "does not see what changes"),
        (Zero, "each image has its part", "NaN for the third image"),
        (FirstPart, "each image has its part", "with other parts in the batch"),
        (Normalising, "weights kept", "weights in place"),
    ],
)
def test_a_metric_that_breaks_a_rule_is_told_so(broken, metric, rule, words):
    assert words in broken(metric, PART_RULES, rule)
