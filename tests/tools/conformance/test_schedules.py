"""Schedules that violate one rule each, and some that violate none."""

from __future__ import annotations

import math
from collections import deque

import pytest

from enface import Schedule
from enface_tools.conformance.schedules import SCHEDULE_RULES


class Half(Schedule):
    def __call__(self, step):
        return 1 / (1 + step)


class Follower(Schedule):
    """Falls after each validation without improvement."""

    def __init__(self):
        self.value, self.best = 1.0, math.inf

    metric = "mae"

    def __call__(self, step):
        return self.value

    def observe(self, value, score):
        self.value *= 0.5 if value >= self.best else 1
        self.best = min(self.best, value)

    def state(self):
        return {"value": self.value, **({} if math.isinf(self.best) else {"best": self.best})}

    def restore(self, state):
        self.value, self.best = state["value"], state.get("best", math.inf)


class Infinite(Half):
    def __call__(self, step):
        return math.inf if step > 10_000 else 1.0


class Whole(Half):
    def __call__(self, step):
        return step // 10


class Counting(Half):
    def __init__(self):
        self.calls = 0

    def __call__(self, step):
        self.calls += 1
        return float(self.calls)


class Remembering(Half):
    """Returns the highest step of any call so far."""

    def __init__(self):
        self.highest = 0

    def __call__(self, step):
        self.highest = max(self.highest, step)
        return float(self.highest)


class Started(Half):
    """Each new schedule starts from another number."""

    count = 0

    def __init__(self):
        Started.count += 1
        self.start = float(Started.count)

    def __call__(self, step):
        return self.start


class Forgetful(Follower):
    def state(self):
        return {"value": self.value}


class NotJson(Follower):
    def state(self):
        return {**super().state(), "seen": deque([1.0])}


class NoNumber(Follower):
    def state(self):
        return {"value": self.value, "best": self.best}


class Numbered(Follower):
    """Its names are numbers, which become text in JSON."""

    def state(self):
        return {1: self.value, 2: min(self.best, 1e9)}

    def restore(self, state):
        self.value, self.best = state["1"], state["2"]


class Deaf(Follower):
    def observe(self, value, score):
        self.best = value


@pytest.mark.parametrize("schedule", [Half, Follower])
def test_a_valid_schedule_passes_every_rule(verdicts, schedule):
    results = verdicts(schedule, SCHEDULE_RULES)
    assert {name: item.why for name, item in results.items() if item.result == "failed"} == {}
    follows = results["follows its metric"].result
    assert follows == ("passed" if schedule is Follower else "skipped")


@pytest.mark.parametrize(
    ("schedule", "rule", "reason"),
    [
        (Infinite, "numbers", "at step 10000000 it gives inf"),
        (Whole, "numbers", "return float"),
        (Counting, "function of the step", "step alone"),
        (Remembering, "function of the step", "called again for step 0"),
        (Started, "resume at any step", "a new schedule gives another value"),
        (Forgetful, "resume at any validation", "return all of its state in state()"),
        (NotJson, "resume at any validation", "deque"),
        (NoNumber, "resume at any validation", "plain finite numbers"),
        (Numbered, "resume at any validation", "as JSON"),
        (Deaf, "follows its metric", "react sooner"),
    ],
)
def test_a_violation_is_reported_with_its_reason(failure, schedule, rule, reason):
    assert reason in failure(schedule, SCHEDULE_RULES, rule)
