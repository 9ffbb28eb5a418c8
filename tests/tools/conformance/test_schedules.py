"""Schedules that break a rule each, and those that keep all."""

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
    """Falls with each validation that is no better."""

    def __init__(self):
        self.value, self.best = 1.0, math.inf

    metric = "l1"

    def __call__(self, step):
        return self.value

    def observe(self, value):
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
    """The highest step that it was ever asked for."""

    def __init__(self):
        self.highest = 0

    def __call__(self, step):
        self.highest = max(self.highest, step)
        return float(self.highest)


class Started(Half):
    """Each new one starts from another number."""

    made = 0

    def __init__(self):
        Started.made += 1
        self.start = float(Started.made)

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
    """Its names are numbers, which JSON makes text."""

    def state(self):
        return {1: self.value, 2: min(self.best, 1e9)}

    def restore(self, state):
        self.value, self.best = state["1"], state["2"]


class Deaf(Follower):
    def observe(self, value):
        self.best = value


@pytest.mark.parametrize("schedule", [Half, Follower])
def test_a_sound_schedule_breaks_no_rule(verdicts, schedule):
    found = verdicts(schedule, SCHEDULE_RULES)
    assert {name: item.why for name, item in found.items() if item.result == "broken"} == {}
    follows = found["follows its metric"].result
    assert follows == ("holds" if schedule is Follower else "not asked")


@pytest.mark.parametrize(
    ("schedule", "rule", "words"),
    [
        (Infinite, "numbers", "at step 10000000 it gives inf"),
        (Whole, "numbers", "return float"),
        (Counting, "function of the step", "step alone"),
        (Remembering, "function of the step", "asked again for step 0"),
        (Started, "resume at any step", "a new one gives another value"),
        (Forgetful, "resume at any validation", "put all it has noted in state"),
        (NotJson, "resume at any validation", "deque"),
        (NoNumber, "resume at any validation", "plain finite numbers"),
        (Numbered, "resume at any validation", "as JSON"),
        (Deaf, "follows its metric", "react sooner"),
    ],
)
def test_a_schedule_that_breaks_a_rule_is_told_so(broken, schedule, rule, words):
    assert words in broken(schedule, SCHEDULE_RULES, rule)
