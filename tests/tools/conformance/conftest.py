"""A component that a test writes, held to the rules of its kind."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from types import SimpleNamespace
from typing import Any

import pytest


@pytest.fixture
def subject_of() -> Iterator[Callable[..., Any]]:
    """The subject that a class is: ``subject_of(Broken, strength=2)``."""
    from enface.plugin.catalog import Catalog
    from enface_tools.conformance.fixture import Subject

    with ExitStack() as stack:

        def make(component: type, **params: Any) -> Any:
            manager: Any = SimpleNamespace(hook=SimpleNamespace(components=lambda: [[component]]))
            catalog = Catalog(manager)
            (entry,) = catalog
            return stack.enter_context(Subject(entry, catalog, params))

        yield make


@pytest.fixture
def verdicts(subject_of: Callable[..., Any]) -> Callable[..., Mapping[str, Any]]:
    """What the rules say of a class, by their names: ``verdicts(Broken, GENERATOR_RULES, only="learns")``."""
    from enface_tools.conformance.rules import judge

    def judged(component: type, rules: Any, only: str = "", **params: Any) -> Mapping[str, Any]:
        subject = subject_of(component, **params)
        return {rule.name: judge(rule, subject) for rule in rules if only in ("", rule.name)}

    return judged


@pytest.fixture
def broken(verdicts: Callable[..., Mapping[str, Any]]) -> Callable[..., str]:
    """Why a class breaks the rule of a name; the test fails when it keeps it."""

    def why(component: type, rules: Any, name: str, **params: Any) -> str:
        (verdict,) = verdicts(component, rules, name, **params).values()
        assert verdict.result == "broken", verdict
        return str(verdict.why)

    return why
