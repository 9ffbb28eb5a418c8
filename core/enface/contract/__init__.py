"""What every component promises, whoever wrote it: rules by kind, and a verdict on each."""

from __future__ import annotations

from enface.contract.augmentations import AUGMENTATION_RULES
from enface.contract.datasets import DATASET_RULES
from enface.contract.discriminators import DISCRIMINATOR_RULES
from enface.contract.feature_metrics import FEATURE_RULES
from enface.contract.generators import GENERATOR_RULES
from enface.contract.losses import LOSS_RULES
from enface.contract.masks import MASK_RULES
from enface.contract.metrics import METRIC_RULES
from enface.contract.parts import PART_RULES
from enface.contract.schedules import SCHEDULE_RULES
from enface.contract.subject import Subject
from enface.contract.verdicts import Rule, Verdict, judge
from enface.contract.words import WORD_RULES

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
