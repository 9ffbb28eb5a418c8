"""Conformance tests for components: rules for each kind, and a verdict on each rule."""

from __future__ import annotations

from enface_tools.conformance.augmentations import AUGMENTATION_RULES
from enface_tools.conformance.datasets import DATASET_RULES
from enface_tools.conformance.discriminators import DISCRIMINATOR_RULES
from enface_tools.conformance.feature_metrics import FEATURE_METRIC_RULES
from enface_tools.conformance.fixture import Fixture
from enface_tools.conformance.generators import GENERATOR_RULES
from enface_tools.conformance.losses import LOSS_RULES
from enface_tools.conformance.masks import MASK_RULES
from enface_tools.conformance.metrics import METRIC_RULES, REGION_RULES
from enface_tools.conformance.rules import COMMON_RULES, Rule, Verdict, run_rule
from enface_tools.conformance.schedules import SCHEDULE_RULES

RULES: dict[str, tuple[Rule, ...]] = {
    "loss": LOSS_RULES,
    "mask": MASK_RULES,
    "discriminator": DISCRIMINATOR_RULES,
    "augmentation": AUGMENTATION_RULES,
    "schedule": SCHEDULE_RULES,
    "generator": GENERATOR_RULES,
    "dataset": DATASET_RULES,
    "metric": (*METRIC_RULES, *REGION_RULES, *FEATURE_METRIC_RULES),
    "optimizer": (),
    "launcher": (),
}
"""The rules of each kind, in addition to those common to all kinds."""


def rules_of(kind: str) -> tuple[Rule, ...]:
    """Every rule for components of a kind, in the order they run."""
    return (*COMMON_RULES, *RULES[kind])


def run_rules(fixture: Fixture) -> list[Verdict]:
    """Run every rule of the component's kind."""
    return [run_rule(rule, fixture) for rule in rules_of(fixture.entry.kind)]


__all__ = ["RULES", "Fixture", "Rule", "Verdict", "rules_of", "run_rule", "run_rules"]
