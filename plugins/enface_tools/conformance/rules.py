"""Rules, verdicts, and the rules common to all kinds: docstring, parameter help, parameter names and schema."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from pydantic import BaseModel
from pydantic.errors import PydanticInvalidForJsonSchema

from enface.errors import WeightsError
from enface.plugin.schema import parameter_help
from enface.recipe.models import DataModel, DiscriminatorModel, OptimizerModel, Spec, TermModel

if TYPE_CHECKING:
    from enface_tools.conformance.fixture import Fixture

Result = Literal["passed", "failed", "skipped"]

_RECIPE_KEYS: dict[str, type[BaseModel]] = {
    "dataset": DataModel,
    "loss": TermModel,
    "discriminator": DiscriminatorModel,
    "optimizer": OptimizerModel,
}


class RuleViolation(Exception):
    """A component violates a rule; the text says what was observed and how to fix it."""


class Skipped(Exception):
    """A rule does not apply to a component, or cannot be tested here; the text says why."""


@dataclass(frozen=True)
class Rule:
    """A requirement on every component of a kind.

    Attributes:
        name: Short and unique within the kind, as ``no in-place change``.
        promise: The requirement in one sentence.
        check: Returns if the rule passes, else raises :class:`RuleViolation` or :class:`Skipped`.
    """

    name: str
    promise: str
    check: Callable[[Fixture], None]


@dataclass(frozen=True)
class Verdict:
    """Result of one rule for one component.

    Attributes:
        rule: The rule's name.
        why: What was observed if the rule failed, the reason if it was skipped, else empty.
    """

    rule: str
    promise: str
    result: Result
    why: str = ""


def rule(name: str) -> Callable[[Callable[[Fixture], None]], Rule]:
    """Make a rule of a function whose docstring is its promise."""

    def make(check: Callable[[Fixture], None]) -> Rule:
        promise = (check.__doc__ or "").strip().splitlines()[0]
        return Rule(name, promise, check)

    return make


def run_rule(rule: Rule, fixture: Fixture) -> Verdict:
    """Run a rule on a component; any exception becomes a verdict."""
    torch.manual_seed(0)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            rule.check(fixture)
    except Skipped as reason:
        return Verdict(rule.name, rule.promise, "skipped", str(reason))
    except WeightsError as error:
        return Verdict(rule.name, rule.promise, "skipped", str(error).splitlines()[0])
    except RuleViolation as violation:
        return Verdict(rule.name, rule.promise, "failed", str(violation))
    except Exception as error:
        return Verdict(rule.name, rule.promise, "failed", f"it raises {type(error).__name__}: {error}")
    return Verdict(rule.name, rule.promise, "passed")


@rule("docstring")
def _docstring(fixture: Fixture) -> None:
    """It has a docstring of its own."""
    component = fixture.entry.component
    text = inspect.getdoc(component) or ""
    if text in ("", inspect.getdoc(fixture.catalog.kinds[fixture.entry.kind])):
        raise RuleViolation(f"class {component.__name__} has no docstring; say in one sentence what it is")


@rule("parameter help")
def _parameter_help(fixture: Fixture) -> None:
    """The docstring's 'Args:' section explains each parameter, and nothing else."""
    help_texts, fields = parameter_help(fixture.entry.component), fixture.entry.params.model_fields
    missing = [name for name in fields if not help_texts.get(name)]
    if missing:
        raise RuleViolation(f"no help text for {', '.join(missing)}; add a line for each under 'Args:'")
    unknown = [name for name in help_texts if name not in fields]
    if unknown:
        raise RuleViolation(f"'Args:' explains {', '.join(unknown)}, which are no parameters; remove the lines")


@rule("parameter names")
def _parameter_names(fixture: Fixture) -> None:
    """No parameter has the name of a recipe key."""
    taken = set(_RECIPE_KEYS.get(fixture.entry.kind, Spec).model_fields)
    hidden = sorted(taken & set(fixture.entry.params.model_fields))
    if hidden:
        raise RuleViolation(f"{', '.join(hidden)}: the recipe uses this name for a key of its own; rename it")


@rule("schema")
def _schema(fixture: Fixture) -> None:
    """Its parameters can be described as JSON Schema, for editors and other programs."""
    remedy = "annotate with numbers, text, paths, lists and maps"
    try:
        described = fixture.entry.params.model_json_schema().get("properties", {})
    except PydanticInvalidForJsonSchema as error:
        raise RuleViolation(f"{error.message}; {remedy}") from error
    missing = sorted(set(fixture.entry.params.model_fields) - set(described))
    if missing:
        raise RuleViolation(f"JSON Schema cannot describe {', '.join(missing)}; {remedy}")


COMMON_RULES = (_docstring, _parameter_help, _parameter_names, _schema)
