"""Rules for schedules."""

from __future__ import annotations

import json
import math
from itertools import accumulate

from enface.plugin.components import Schedule
from enface_tools.conformance.fixture import Fixture
from enface_tools.conformance.rules import RuleViolation, Skipped, rule

STEPS = (0, 1, 2, 9, 10, 50, 99, 100, 101, 10_000, 10_000_000)
# A metric that improves, stays, worsens and improves again, long enough for a schedule to react.
CHANGES = (0.0, -0.2, -0.1, 0.0, 0.05, 0.0, 0.0, -0.3, 0.1, 0.1, 0.0, 0.1, -0.4, 0.0, 0.0, 0.0, 0.2, 0.0)
VALIDATIONS = tuple(accumulate(CHANGES, initial=1.0))


def _values(schedule: Schedule) -> list[float]:
    return [schedule(step) for step in STEPS]


@rule("numbers")
def _numbers(fixture: Fixture) -> None:
    """Its values are finite and of the type float."""
    for step, value in zip(STEPS, _values(fixture.build()), strict=True):
        if not isinstance(value, float):
            raise RuleViolation(f"at step {step} it gives {value!r}, a {type(value).__name__}; return float(...)")
        if not math.isfinite(value):
            raise RuleViolation(f"at step {step} it gives {value}")


@rule("function of the step")
def _function_of_the_step(fixture: Fixture) -> None:
    """Before any validation its value depends on the step alone, in any order of calls."""
    schedule = fixture.build()
    first = _values(schedule)
    again = [schedule(step) for step in reversed(STEPS)][::-1]
    changed = [step for step, one, other in zip(STEPS, first, again, strict=True) if one != other]
    if changed:
        raise RuleViolation(
            f"called again for step {changed[0]} it gives another value; compute it from the step alone"
        )


@rule("resume at any step")
def _resume(fixture: Fixture) -> None:
    """At each step, a new schedule gives the same value as one in use."""
    used = fixture.build()
    for step, value in zip(STEPS, _values(used), strict=True):
        if fixture.build()(step) != value:
            raise RuleViolation(
                f"at step {step} a new schedule gives another value than one in use; keep no state between calls"
            )


@rule("resume at any validation")
def _resume_validations(fixture: Fixture) -> None:
    """A schedule that follows a metric continues exactly from its state, stored as JSON."""
    if fixture.build().metric is None:
        raise Skipped("it follows no metric")
    whole = _followed(fixture.build(), VALIDATIONS)
    for cut in range(len(VALIDATIONS)):
        first, second = fixture.build(), fixture.build()
        before = _followed(first, VALIDATIONS[:cut])
        second.restore(json.loads(_as_json(first)))
        if before + _followed(second, VALIDATIONS[cut:]) != whole:
            raise RuleViolation(
                f"restored after {cut} validations it continues differently; return all of its state in state()"
            )


def _followed(schedule: Schedule, validations: tuple[float, ...]) -> list[list[float]]:
    """Its values after each validation."""
    values = []
    for validation in validations:
        # Of a metric that is better if lower.
        schedule.observe(validation, -validation)
        values.append(_values(schedule))
    return values


def _as_json(schedule: Schedule) -> str:
    state = schedule.state()
    try:
        text = json.dumps(state, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise RuleViolation(f"its state {state} is not plain finite numbers by name: {error}") from error
    if json.loads(text) != state:
        raise RuleViolation(f"its state {state} becomes {json.loads(text)} as JSON; keep numbers by name, no tuples")
    return text


@rule("follows its metric")
def _follows(fixture: Fixture) -> None:
    """A schedule that names a metric changes its value after some validations."""
    schedule: Schedule = fixture.build()
    if schedule.metric is None:
        raise Skipped("it follows no metric")
    before = _values(schedule)
    if all(values == before for values in _followed(schedule, VALIDATIONS)):
        raise RuleViolation(f"{len(VALIDATIONS)} validations change nothing; let its 'example' react sooner")


SCHEDULE_RULES = (_numbers, _function_of_the_step, _resume, _resume_validations, _follows)
