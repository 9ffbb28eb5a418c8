"""Conformance tests for components: rules for each kind, and a verdict on each rule."""

from __future__ import annotations

from enface.errors import EnfaceError
from enface_tools.conformance.augmentations import AUGMENTATION_RULES
from enface_tools.conformance.datasets import DATASET_RULES
from enface_tools.conformance.discriminators import DISCRIMINATOR_RULES
from enface_tools.conformance.feature_metrics import FEATURE_METRIC_RULES
from enface_tools.conformance.fixture import Fixture
from enface_tools.conformance.generators import GENERATOR_RULES
from enface_tools.conformance.losses import LOSS_RULES
from enface_tools.conformance.masks import MASK_RULES
from enface_tools.conformance.metrics import METRIC_RULES, REGION_RULES
from enface_tools.conformance.optimizers import OPTIMIZER_RULES
from enface_tools.conformance.rules import COMMON_RULES, Rule, RuleViolation, Skipped, Verdict, rule, run_rule
from enface_tools.conformance.schedules import SCHEDULE_RULES
from enface_tools.sweep.base import LauncherSession


def _opened(fixture: Fixture) -> LauncherSession | EnfaceError:
    """Open a session and close it; return it, or the error that prevents it."""
    try:
        session = fixture.build().open(None, fixture.folder / "runs", fixture.folder / "logs")
    except EnfaceError as error:
        return error
    if not isinstance(session, LauncherSession):
        raise RuleViolation(f"open returns a {type(session).__name__}; return a LauncherSession")
    with session:
        return session


@rule("opens a session")
def _session(fixture: Fixture) -> None:
    """It opens a session, or raises an EnfaceError if a package or the cluster is not available."""
    fixture.cached("session", lambda: _opened(fixture))


@rule("jobs at once")
def _at_once(fixture: Fixture) -> None:
    """A session accepts at least one job at a time, or any number of them."""
    session = fixture.cached("session", lambda: _opened(fixture))
    if isinstance(session, EnfaceError):
        raise Skipped(f"no session can be opened here: {session}")
    if session.at_once is not None and session.at_once < 1:
        raise RuleViolation(f"its at_once is {session.at_once}, so that no job would start; use None for any number")


LAUNCHER_RULES = (_session, _at_once)

RULES: dict[str, tuple[Rule, ...]] = {
    "loss": LOSS_RULES,
    "mask": MASK_RULES,
    "discriminator": DISCRIMINATOR_RULES,
    "augmentation": AUGMENTATION_RULES,
    "schedule": SCHEDULE_RULES,
    "generator": GENERATOR_RULES,
    "dataset": DATASET_RULES,
    "metric": (*METRIC_RULES, *REGION_RULES, *FEATURE_METRIC_RULES),
    "optimizer": OPTIMIZER_RULES,
    "launcher": LAUNCHER_RULES,
}
"""The rules of each kind, in addition to those common to all kinds."""


def rules_of(kind: str) -> tuple[Rule, ...]:
    """Every rule for components of a kind, in the order they run."""
    return (*COMMON_RULES, *RULES[kind])


def run_rules(fixture: Fixture) -> list[Verdict]:
    """Run every rule of the component's kind."""
    return [run_rule(rule, fixture) for rule in rules_of(fixture.entry.kind)]


__all__ = ["RULES", "Fixture", "Rule", "Verdict", "rules_of", "run_rule", "run_rules"]
