"""Rules on what a component says of itself, and the judge: each is broken by the smallest class that breaks it."""

from __future__ import annotations

import pytest

from enface import Loss, WeightsError
from enface_tools.conformance.docstrings import WORD_RULES
from enface_tools.conformance.rules import BrokenRule, NotAsked, judge, rule


class Speaks(Loss):
    """Says it all.

    Args:
        power: Of the difference.
    """

    def __init__(self, *, power: float = 2.0) -> None:
        super().__init__()


class Silent(Loss):
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
        scale: Of what was.
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
    """A type that no schema knows."""


class Undescribed(Loss):
    """Has a parameter that no recipe can write.

    Args:
        power: Of the difference.
    """

    def __init__(self, *, power: Power | None = None) -> None:
        super().__init__()


@pytest.mark.parametrize(
    ("component", "broken", "why"),
    [
        (Speaks, [], ""),
        (Silent, ["docstring", "parameter help"], "class Silent has no docstring"),
        (Unexplained, ["parameter help"], "no help text for power"),
        (Outdated, ["parameter help"], "explains scale"),
        (Hidden, ["parameter names"], "weight: the recipe would take it"),
        (Undescribed, ["schema"], "annotate parameters with"),
    ],
)
def test_a_component_that_is_silent_breaks_a_rule(component, broken, why, subject_of):
    found = [judge(item, subject_of(component)) for item in WORD_RULES]
    assert [verdict.rule for verdict in found if verdict.result == "broken"] == broken
    assert why in " ".join(verdict.why for verdict in found)


@pytest.mark.parametrize(
    ("raised", "result", "why"),
    [
        (None, "holds", ""),
        (BrokenRule("seen; do"), "broken", "seen; do"),
        (NotAsked("no device"), "not asked", "no device"),
        (WeightsError("weights are missing\nfetch them"), "not asked", "weights are missing"),
        (KeyError("x"), "broken", "it raises KeyError: 'x'"),
    ],
)
def test_whatever_a_check_raises_is_a_verdict(raised, result, why, subject_of):
    @rule("a rule")
    def check(_):
        """It is kept."""
        if raised is not None:
            raise raised

    verdict = judge(check, subject_of(Speaks))
    assert (verdict.rule, verdict.promise, verdict.result, verdict.why) == ("a rule", "It is kept.", result, why)
