"""Rules common to all kinds, each with the smallest class that violates it; and verdicts."""

from __future__ import annotations

import pytest

from enface import Loss, WeightsError
from enface_tools.conformance.rules import COMMON_RULES, RuleViolation, Skipped, rule, run_rule


class Documented(Loss):
    """Has a docstring.

    Args:
        power: Of the difference.
    """

    def __init__(self, *, power: float = 2.0) -> None:
        super().__init__()


class Undocumented(Loss):
    def __init__(self, *, power: float = 2.0) -> None:
        super().__init__()


class Unexplained(Loss):
    """Has a parameter."""

    def __init__(self, *, power: float = 2.0) -> None:
        super().__init__()


class Outdated(Loss):
    """Had another parameter once.

    Args:
        power: Of the difference.
        scale: Of the past.
    """

    def __init__(self, *, power: float = 2.0) -> None:
        super().__init__()


class Hidden(Loss):
    """Has a parameter that no recipe reaches.

    Args:
        weight: Of something.
    """

    def __init__(self, *, weight: float = 2.0) -> None:
        super().__init__()


class Power:
    """A type that JSON Schema cannot describe."""


class Undescribed(Loss):
    """Has a parameter that no recipe can write.

    Args:
        power: Of the difference.
    """

    def __init__(self, *, power: Power | None = None) -> None:
        super().__init__()


@pytest.mark.parametrize(
    ("component", "rules", "why"),
    [
        (Documented, [], ""),
        (Undocumented, ["docstring", "parameter help"], "class Undocumented has no docstring"),
        (Unexplained, ["parameter help"], "no help text for power"),
        (Outdated, ["parameter help"], "explains scale"),
        (Hidden, ["parameter names"], "weight: the recipe uses this name"),
        (Undescribed, ["schema"], "annotate with"),
    ],
)
def test_missing_documentation_is_reported(component, rules, why, fixture_of):
    results = [run_rule(item, fixture_of(component)) for item in COMMON_RULES]
    assert [verdict.rule for verdict in results if verdict.result == "failed"] == rules
    assert why in " ".join(verdict.why for verdict in results)


@pytest.mark.parametrize(
    ("raised", "result", "why"),
    [
        (None, "passed", ""),
        (RuleViolation("seen; do"), "failed", "seen; do"),
        (Skipped("no device"), "skipped", "no device"),
        (WeightsError("weights are missing\nfetch them"), "skipped", "weights are missing"),
        (KeyError("x"), "failed", "it raises KeyError: 'x'"),
    ],
)
def test_every_exception_of_a_check_becomes_a_verdict(raised, result, why, fixture_of):
    @rule("a rule")
    def check(_):
        """It passes."""
        if raised is not None:
            raise raised

    verdict = run_rule(check, fixture_of(Documented))
    assert (verdict.rule, verdict.promise, verdict.result, verdict.why) == ("a rule", "It passes.", result, why)
