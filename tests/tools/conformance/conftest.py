"""Fixtures that run conformance rules on a component class of a test."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from types import SimpleNamespace
from typing import Any

import pytest


@pytest.fixture
def fixture_of() -> Iterator[Callable[..., Any]]:
    """Make the conformance fixture of a class: ``fixture_of(Broken, strength=2)``."""
    from enface.plugin.catalog import Catalog
    from enface.plugin.manager import load_plugins
    from enface_tools.conformance.suite import Fixture

    with ExitStack() as stack:

        def make(component: type, **params: Any) -> Any:
            hooks = SimpleNamespace(components=lambda: [[component]], kinds=load_plugins().hook.kinds)
            manager: Any = SimpleNamespace(hook=hooks)
            catalog = Catalog(manager)
            (entry,) = catalog
            return stack.enter_context(Fixture(entry, catalog, params))

        yield make


@pytest.fixture
def verdicts(fixture_of: Callable[..., Any]) -> Callable[..., Mapping[str, Any]]:
    """Verdicts on a class by rule name: ``verdicts(Broken, GENERATOR_RULES, only="learns")``."""
    from enface_tools.conformance.suite import run_rule

    def run(component: type, rules: Any, only: str = "", **params: Any) -> Mapping[str, Any]:
        fixture = fixture_of(component, **params)
        return {rule.name: run_rule(rule, fixture) for rule in rules if only in ("", rule.name)}

    return run


@pytest.fixture
def failure(verdicts: Callable[..., Mapping[str, Any]]) -> Callable[..., str]:
    """Why a class fails a named rule; the test fails if the class passes it."""

    def why(component: type, rules: Any, name: str, **params: Any) -> str:
        (verdict,) = verdicts(component, rules, name, **params).values()
        assert verdict.result == "failed", verdict
        return str(verdict.why)

    return why
