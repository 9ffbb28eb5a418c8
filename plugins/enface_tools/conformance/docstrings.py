"""Rules for every kind: what a component says of itself."""

from __future__ import annotations

import inspect

from pydantic import BaseModel
from pydantic.errors import PydanticInvalidForJsonSchema

from enface.plugin.components import KINDS
from enface.plugin.schema import parameter_help
from enface.recipe.models import DataModel, DiscriminatorModel, Spec, TermModel
from enface_tools.conformance.fixture import Subject
from enface_tools.conformance.rules import BrokenRule, rule

_RECIPE_KEYS: dict[str, type[BaseModel]] = {
    "dataset": DataModel,
    "loss": TermModel,
    "discriminator": DiscriminatorModel,
}


@rule("docstring")
def _docstring(subject: Subject) -> None:
    """It has a docstring of its own."""
    component = subject.entry.component
    text = inspect.getdoc(component) or ""
    if text in ("", inspect.getdoc(KINDS[subject.entry.kind])):
        raise BrokenRule(f"class {component.__name__} has no docstring; say in one sentence what it is")


@rule("parameter help")
def _parameter_help(subject: Subject) -> None:
    """Each parameter is explained in the docstring's 'Args:' section, and nothing else is."""
    help_texts, fields = parameter_help(subject.entry.component), subject.entry.params.model_fields
    missing = [name for name in fields if not help_texts.get(name)]
    if missing:
        raise BrokenRule(f"no help text for {', '.join(missing)}; add a line for each under 'Args:'")
    unknown = [name for name in help_texts if name not in fields]
    if unknown:
        raise BrokenRule(f"'Args:' explains {', '.join(unknown)}, which it does not have")


@rule("parameter names")
def _parameter_names(subject: Subject) -> None:
    """No parameter is called as a key of the recipe is."""
    taken = set(_RECIPE_KEYS.get(subject.entry.kind, Spec).model_fields)
    hidden = sorted(taken & set(subject.entry.params.model_fields))
    if hidden:
        raise BrokenRule(f"{', '.join(hidden)}: the recipe would take it for its own key; rename it")


@rule("schema")
def _schema(subject: Subject) -> None:
    """Its parameters can be described as JSON Schema, for editors and programs."""
    try:
        described = subject.entry.params.model_json_schema().get("properties", {})
    except PydanticInvalidForJsonSchema as error:
        raise BrokenRule(f"{error.message}; annotate parameters with numbers, text, paths, lists and maps") from error
    missing = sorted(set(subject.entry.params.model_fields) - set(described))
    if missing:
        raise BrokenRule(f"{', '.join(missing)} cannot be described")


WORD_RULES = (_docstring, _parameter_help, _parameter_names, _schema)
