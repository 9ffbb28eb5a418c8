"""Every component of the catalog is held to every rule of its kind; what is broken fails by the rule's name."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from enface.plugin.catalog import Catalog, Entry
from enface.plugin.components import KINDS
from enface.plugin.manager import load_plugins
from enface_tools.conformance import RULES, Subject, judge, rules_of

CATALOG = Catalog(load_plugins())
HELD = [(entry, rule) for entry in CATALOG for rule in rules_of(entry.kind)]


class Bench:
    """Keeps the component under test from rule to rule, for some are slow to build."""

    def __init__(self) -> None:
        self.subject: Subject | None = None

    def put(self, entry: Entry | None) -> Subject | None:
        """What is under test from now on."""
        if self.subject is None or self.subject.entry is not entry:
            if self.subject is not None:
                self.subject.__exit__(None, None, None)
            self.subject = Subject(entry, CATALOG) if entry is not None else None
        return self.subject


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    made.put(None)


@pytest.mark.parametrize(
    ("entry", "rule"), [pytest.param(entry, rule, id=f"{entry.kind}-{entry.name}-{rule.name}") for entry, rule in HELD]
)
def test_a_component_keeps_a_rule(entry, rule, bench):
    verdict = judge(rule, bench.put(entry))
    if verdict.result == "not asked":
        pytest.skip(verdict.why)
    assert verdict.result == "holds", verdict.why


def test_every_kind_has_rules_and_a_component():
    assert set(RULES) == set(KINDS)
    assert {entry.kind for entry in CATALOG} == set(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_a_rule_is_named_once_and_promises_a_sentence(kind):
    names = [rule.name for rule in rules_of(kind)]
    assert len(set(names)) == len(names)
    assert all(rule.promise.endswith(".") for rule in rules_of(kind))
