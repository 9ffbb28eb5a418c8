"""Rules for schedules."""

from __future__ import annotations

import json
import math
from itertools import accumulate

from enface.plugin.components import Schedule
from enface_tools.conformance.fixture import Subject
from enface_tools.conformance.rules import BrokenRule, NotAsked, rule

STEPS = (0, 1, 2, 9, 10, 50, 99, 100, 101, 10_000, 10_000_000)
# A metric that improves, stays, worsens and improves again: long enough for a schedule to react.
CHANGES = (0.0, -0.2, -0.1, 0.0, 0.05, 0.0, 0.0, -0.3, 0.1, 0.1, 0.0, 0.1, -0.4, 0.0, 0.0, 0.0, 0.2, 0.0)
VALIDATIONS = tuple(accumulate(CHANGES, initial=1.0))


def _values(schedule: Schedule) -> list[float]:
    return [schedule(step) for step in STEPS]


@rule("numbers")
def _numbers(subject: Subject) -> None:
    """Its values are finite numbers of the type float."""
    for step, value in zip(STEPS, _values(subject.build()), strict=True):
        if not isinstance(value, float):
            raise BrokenRule(f"at step {step} it gives {value!r}, a {type(value).__name__}; return float(...)")
        if not math.isfinite(value):
            raise BrokenRule(f"at step {step} it gives {value}")


@rule("function of the step")
def _function_of_the_step(subject: Subject) -> None:
    """As long as it is told of no validation its value depends on the step alone, in whatever order it is asked."""
    schedule = subject.build()
    first = _values(schedule)
    again = [schedule(step) for step in reversed(STEPS)][::-1]
    changed = [step for step, one, other in zip(STEPS, first, again, strict=True) if one != other]
    if changed:
        raise BrokenRule(f"asked again for step {changed[0]} it gives another value; compute it from the step alone")


@rule("resume at any step")
def _resume(subject: Subject) -> None:
    """A new one goes on at any step with the values of one in use."""
    used = subject.build()
    for step, value in zip(STEPS, _values(used), strict=True):
        if subject.build()(step) != value:
            raise BrokenRule(f"at step {step} a new one gives another value than one in use; remember no earlier call")


@rule("resume at any validation")
def _resume_validations(subject: Subject) -> None:
    """One that follows a metric goes on exactly from the state that a checkpoint has kept as JSON."""
    if subject.build().metric is None:
        raise NotAsked("it follows no metric")
    whole = _followed(subject.build(), VALIDATIONS)
    for cut in range(len(VALIDATIONS)):
        first, second = subject.build(), subject.build()
        before = _followed(first, VALIDATIONS[:cut])
        second.restore(json.loads(_as_json(first)))
        if before + _followed(second, VALIDATIONS[cut:]) != whole:
            raise BrokenRule(f"restored after {cut} validations it goes on otherwise; put all it has noted in state()")


def _followed(schedule: Schedule, validations: tuple[float, ...]) -> list[list[float]]:
    """Its values after each validation."""
    found = []
    for value in validations:
        schedule.observe(value)
        found.append(_values(schedule))
    return found


def _as_json(schedule: Schedule) -> str:
    state = schedule.state()
    try:
        text = json.dumps(state, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise BrokenRule(f"its state {state} is not plain finite numbers by name: {error}") from error
    if json.loads(text) != state:
        raise BrokenRule(f"its state {state} becomes {json.loads(text)} as JSON; keep numbers by name, no tuples")
    return text


@rule("follows its metric")
def _follows(subject: Subject) -> None:
    """One that names a metric gives another value after some validations than before."""
    schedule: Schedule = subject.build()
    if schedule.metric is None:
        raise NotAsked("it follows no metric")
    before = _values(schedule)
    if all(values == before for values in _followed(schedule, VALIDATIONS)):
        raise BrokenRule(f"{len(VALIDATIONS)} validations change nothing; let its 'example' react sooner")


SCHEDULE_RULES = (_numbers, _function_of_the_step, _resume, _resume_validations, _follows)
