"""What every component promises, whoever wrote it: rules by kind, and a verdict on each."""

from __future__ import annotations

from enface_tools.conformance.augmentations import AUGMENTATION_RULES
from enface_tools.conformance.datasets import DATASET_RULES
from enface_tools.conformance.discriminators import DISCRIMINATOR_RULES
from enface_tools.conformance.docstrings import WORD_RULES
from enface_tools.conformance.feature_metrics import FEATURE_RULES
from enface_tools.conformance.fixture import Subject
from enface_tools.conformance.generators import GENERATOR_RULES
from enface_tools.conformance.losses import LOSS_RULES
from enface_tools.conformance.masks import MASK_RULES
from enface_tools.conformance.metric_regions import PART_RULES
from enface_tools.conformance.metrics import METRIC_RULES
from enface_tools.conformance.rules import Rule, Verdict, judge
from enface_tools.conformance.schedules import SCHEDULE_RULES

RULES: dict[str, tuple[Rule, ...]] = {
    "loss": LOSS_RULES,
    "mask": MASK_RULES,
    "discriminator": DISCRIMINATOR_RULES,
    "augmentation": AUGMENTATION_RULES,
    "schedule": SCHEDULE_RULES,
    "generator": GENERATOR_RULES,
    "dataset": DATASET_RULES,
    "metric": (*METRIC_RULES, *PART_RULES, *FEATURE_RULES),
}
"""The rules of each kind, beside those that all kinds share."""


def rules_of(kind: str) -> tuple[Rule, ...]:
    """Every rule a component of a kind must keep, in the order they are judged."""
    return (*WORD_RULES, *RULES[kind])


def examine(subject: Subject) -> list[Verdict]:
    """A verdict on every rule of the subject's kind."""
    return [judge(rule, subject) for rule in rules_of(subject.entry.kind)]


__all__ = ["RULES", "Rule", "Subject", "Verdict", "examine", "judge", "rules_of"]
