"""Metrics that violate one rule each, and some that violate none."""

from __future__ import annotations

from typing import ClassVar

import pytest
import torch

from enface import Metric
from enface_tools.conformance.metrics import METRIC_RULES

CARD = {"implementation": "enface", "data_range": "1", "crop": "none"}


class Absolute(Metric):
    higher_is_better = False
    bounds = (0.0, 1.0)
    card = CARD

    def map(self, output, target):
        return (output - target).abs()

    def forward(self, output, target):
        return self.map(output, target).flatten(1).mean(1)


class Likeness(Metric):
    """Higher is better, and there is no map."""

    higher_is_better = True
    bounds = (0.0, 1.0)
    card = CARD

    def forward(self, output, target):
        return 1 - (output - target).abs().flatten(1).mean(1)


class Contrast(Metric):
    """Ratio of contrasts; 1 is ideal."""

    higher_is_better = True
    ideal = 1.0
    card = CARD

    def forward(self, output, target):
        strength = [image.diff(dim=-1).square().flatten(1).mean(1) + 1e-6 for image in (output, target)]
        return strength[0] / strength[1]


class FlowLength(Metric):
    """It requests a value of the generator and a column."""

    higher_is_better = False
    bounds = (0.0, 100.0)
    card = CARD

    def forward(self, output, target, flow, source_visible):
        return (flow[:, 0].norm(dim=1, keepdim=True) * source_visible).flatten(1).mean(1)


class JointFlowLength(FlowLength):
    def forward(self, output, target, flow, source_visible):
        return super().forward(output, target, flow / flow.max(), source_visible)


class ShortFlow(FlowLength):
    bounds = (0.0, 0.5)


class OneNumber(Absolute):
    def forward(self, output, target):
        return (output - target).abs().mean()


class Infinite(Absolute):
    def forward(self, output, target):
        return (output - target).square().flatten(1).mean(1).log()


class Prejudiced(Absolute):
    """Prefers a little noise."""

    def forward(self, output, target):
        return (super().forward(output, target) - 0.05).abs()


class Offset(Absolute):
    def forward(self, output, target):
        return super().forward(output, target) * 0.9 + 0.1


class OffIdeal(Contrast):
    ideal = 2.0


class Unbound(Absolute):
    def forward(self, output, target):
        return super().forward(output, target) * 3


class Backwards(Absolute):
    higher_is_better = True
    bounds = None


class Whitened(Absolute):
    """Divides by the batch's own spread."""

    def forward(self, output, target):
        return super().forward(output, target) / (1e-3 + output.std(0).mean())


class Ranked(Absolute):
    """Weights later images more."""

    def forward(self, output, target):
        return super().forward(output, target) * (1 + 0.1 * torch.arange(len(output)))


class Random(Absolute):
    def forward(self, output, target):
        return super().forward(output, target) * (1 + 0.01 * torch.rand(()))


class Running(Absolute):
    def __init__(self):
        super().__init__()
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, output, target):
        self.seen += 1
        return super().forward(output, target)


class InPlace(Absolute):
    def forward(self, output, target):
        return output.sub_(target).abs().flatten(1).mean(1)


class NoCard(Absolute):
    card: ClassVar[dict[str, str]] = {"implementation": "enface", "crop": "none"}


class NoVersion(Absolute):
    card: ClassVar[dict[str, str]] = {**CARD, "implementation": "somebody's"}


class EmptyCard(Absolute):
    card: ClassVar[dict[str, str]] = {**CARD, "crop": ""}


class OtherMap(Absolute):
    def map(self, output, target):
        return (output - target).square()

    def forward(self, output, target):
        return (output - target).abs().flatten(1).mean(1)


@pytest.mark.parametrize("metric", [Absolute, Likeness, Contrast])
def test_a_valid_metric_passes_every_rule(verdicts, metric):
    results = verdicts(metric, METRIC_RULES)
    assert {name: item.why for name, item in results.items() if item.result == "failed"} == {}
    assert results["bounds"].result == ("skipped" if metric is Contrast else "passed")
    assert results["map"].result == ("passed" if metric is Absolute else "skipped")


def test_a_metric_that_requests_more_is_tested_with_samples(verdicts):
    results = verdicts(FlowLength, METRIC_RULES)
    assert {name: item.why for name, item in results.items() if item.result == "failed"} == {}
    skipped = {name for name, item in results.items() if item.result == "skipped"}
    assert {"identity", "direction", "map"} <= skipped <= {"identity", "direction", "map", "CUDA"}
    assert "requests flow, source_visible" in results["direction"].why


@pytest.mark.parametrize(
    ("metric", "rule", "reason"),
    [
        (OneNumber, "shape", "float32 ()"),
        (JointFlowLength, "independent of the batch", "than in a batch"),
        (ShortFlow, "bounds", "outside 0 to 0.5"),
        (Infinite, "shape", "for equal images"),
        (Prejudiced, "identity", "better than the target itself"),
        (Offset, "identity", "its declared best value is 0"),
        (OffIdeal, "identity", "its declared best value is 2"),
        (Unbound, "bounds", "outside 0 to 1"),
        (Backwards, "direction", "higher is better"),
        (Whitened, "independent of the batch", "than in a batch"),
        (Ranked, "independent of the batch", "in another order"),
        (Random, "deterministic", "second time"),
        (Running, "deterministic", "changes its seen"),
        (InPlace, "no in-place change", "output in place"),
        (NoCard, "card", "data_range"),
        (NoVersion, "card", "no version"),
        (EmptyCard, "card", "give text"),
        (OtherMap, "map", "another number"),
    ],
)
def test_a_violation_is_reported_with_its_reason(failure, metric, rule, reason):
    assert reason in failure(metric, METRIC_RULES, rule)
