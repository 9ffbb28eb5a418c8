"""A rule, and what became of a component that was held to it."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch

from enface.errors import WeightsError

if TYPE_CHECKING:
    from enface_tools.conformance.fixture import Subject

Result = Literal["holds", "broken", "not asked"]


class BrokenRule(Exception):
    """A component does not keep a rule; the text says what was seen and what to do."""


class NotAsked(Exception):
    """A rule does not apply to a component, or cannot be judged here; the text says why."""


@dataclass(frozen=True)
class Rule:
    """Something every component of a kind promises.

    Attributes:
        name: Short and unique within the kind, as ``no in-place change``.
        promise: One sentence of what is promised.
        check: Raises :class:`BrokenRule` or :class:`NotAsked`, or returns: the rule holds.
    """

    name: str
    promise: str
    check: Callable[[Subject], None]


@dataclass(frozen=True)
class Verdict:
    """What became of one rule.

    Attributes:
        rule: Its name.
        why: For a broken rule what was seen; for one not asked the reason; else empty.
    """

    rule: str
    promise: str
    result: Result
    why: str = ""


def rule(name: str) -> Callable[[Callable[[Subject], None]], Rule]:
    """Make a rule of a function whose docstring is its promise."""

    def make(check: Callable[[Subject], None]) -> Rule:
        promise = (check.__doc__ or "").strip().splitlines()[0]
        return Rule(name, promise, check)

    return make


def judge(rule: Rule, subject: Subject) -> Verdict:
    """Hold a component to a rule. Whatever it raises is a verdict, never a traceback."""
    torch.manual_seed(0)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            rule.check(subject)
    except NotAsked as reason:
        return Verdict(rule.name, rule.promise, "not asked", str(reason))
    except WeightsError as error:
        return Verdict(rule.name, rule.promise, "not asked", str(error).splitlines()[0])
    except BrokenRule as broken:
        return Verdict(rule.name, rule.promise, "broken", str(broken))
    except Exception as error:
        return Verdict(rule.name, rule.promise, "broken", f"it raises {type(error).__name__}: {error}")
    return Verdict(rule.name, rule.promise, "holds")
