"""Run every rule on every component of the catalog; each pair is a test named after both."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from enface.plugin.catalog import Catalog, Entry
from enface.plugin.manager import load_plugins
from enface_tools.conformance.suite import RULES, Fixture, rules_of, run_rule

KINDS = Catalog(load_plugins()).kinds

CATALOG = Catalog(load_plugins())
PAIRS = [(entry, rule) for entry in CATALOG for rule in rules_of(entry.kind)]


class FixtureCache:
    """Keeps the fixture of the last component, because some components are slow to build."""

    def __init__(self) -> None:
        self.fixture: Fixture | None = None

    def get(self, entry: Entry) -> Fixture:
        if self.fixture is None or self.fixture.entry is not entry:
            self.close()
            self.fixture = Fixture(entry, CATALOG)
        return self.fixture

    def close(self) -> None:
        if self.fixture is not None:
            self.fixture.__exit__(None, None, None)
        self.fixture = None


@pytest.fixture(scope="module")
def fixtures() -> Iterator[FixtureCache]:
    cache = FixtureCache()
    yield cache
    cache.close()


@pytest.mark.parametrize(
    ("entry", "rule"), [pytest.param(entry, rule, id=f"{entry.kind}-{entry.name}-{rule.name}") for entry, rule in PAIRS]
)
def test_a_component_passes_a_rule(entry, rule, fixtures):
    verdict = run_rule(rule, fixtures.get(entry))
    if verdict.result == "skipped":
        pytest.skip(verdict.why)
    assert verdict.result == "passed", verdict.why


def test_every_kind_has_an_entry_and_a_component():
    assert set(RULES) == set(KINDS)
    assert {entry.kind for entry in CATALOG} == set(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_rule_names_are_unique_and_promises_are_sentences(kind):
    names = [rule.name for rule in rules_of(kind)]
    assert len(set(names)) == len(names)
    assert all(rule.promise.endswith(".") for rule in rules_of(kind))
