"""Launchers that violate one rule each, and some that violate none."""

from __future__ import annotations

import pytest

from enface import EnfaceError
from enface_tools.conformance.suite import RULES
from enface_tools.sweep.base import Launcher, LauncherSession

LAUNCHER_RULES = RULES["launcher"]


class Session(LauncherSession):
    """Records that it is closed."""

    closed = 0

    def start(self, jobs):
        return []

    def __exit__(self, *error):
        Session.closed += 1


class Queue(Launcher):
    """Accepts any number of jobs."""

    def open(self, at_once, runs, logs):
        return Session()


class OneByOne(Queue):
    def open(self, at_once, runs, logs):
        session = Session()
        session.at_once = at_once or 1
        return session


class Unavailable(Queue):
    def open(self, at_once, runs, logs):
        raise EnfaceError("launcher unavailable: no cluster")


class Nothing(Queue):
    def open(self, at_once, runs, logs):
        return None


class Fails(Queue):
    def open(self, at_once, runs, logs):
        return {}["cluster"]


class Closed(Queue):
    def open(self, at_once, runs, logs):
        session = Session()
        session.at_once = at_once or 0
        return session


@pytest.mark.parametrize("launcher", [Queue, OneByOne, Unavailable])
def test_a_valid_launcher_passes_every_rule(verdicts, launcher):
    results = verdicts(launcher, LAUNCHER_RULES)
    assert {name: item.why for name, item in results.items() if item.result == "failed"} == {}
    assert results["jobs at once"].result == ("skipped" if launcher is Unavailable else "passed")


def test_the_session_is_opened_once_and_closed(verdicts):
    before = Session.closed
    verdicts(Queue, LAUNCHER_RULES)
    assert Session.closed == before + 1


@pytest.mark.parametrize(
    ("launcher", "rule", "reason"),
    [
        (Nothing, "opens a session", "open returns a NoneType; return a LauncherSession"),
        (Fails, "opens a session", "it raises KeyError: 'cluster'"),
        (Closed, "jobs at once", "its at_once is 0"),
    ],
)
def test_a_violation_is_reported_with_its_reason(failure, launcher, rule, reason):
    assert reason in failure(launcher, LAUNCHER_RULES, rule)
