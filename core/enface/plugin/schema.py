"""Schemas from the signatures of components: pydantic models and help text."""

from __future__ import annotations

import difflib
import inspect
import re
from collections.abc import Callable, Iterable
from functools import cache
from typing import Annotated, Any, ClassVar, get_args, get_origin, get_type_hints

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, create_model

from enface.plugin.components import DataInfo, GeneratorBuilder, Schedulable

# Names of union branches in the paths of pydantic's errors.
UNION_BRANCHES = {
    "bool",
    "float",
    "int",
    "str",
    "constrained-float",
    "constrained-int",
    "constrained-str",
    "ScheduleSpec",
}


class ComponentSpec(BaseModel):
    """A component in a recipe as the value of a key: ``{use: NAME, ...its parameters}``."""

    model_config = ConfigDict(extra="allow")
    kind: ClassVar[str]
    use: str


class ScheduleSpec(ComponentSpec):
    """A schedule."""

    kind = "schedule"


class GeneratorSpec(ComponentSpec):
    """A generator within another component."""

    kind = "generator"


class _Params(BaseModel):
    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True, allow_inf_nan=False)


@cache
def params_model(component: type) -> type[BaseModel]:
    """Return the pydantic model of a component's parameters, without those that the core fills in (DataInfo).

    Raises TypeError if a parameter is positional or has no annotation, a mistake of the plugin's author.
    """
    hints = get_type_hints(component.__init__, include_extras=True)  # type: ignore[misc]
    fields: dict[str, Any] = {}
    help_texts = parameter_help(component)
    for name, parameter in _init_parameters(component):
        if parameter.kind is not inspect.Parameter.KEYWORD_ONLY or name not in hints:
            raise TypeError(f"{component.__qualname__}.__init__: parameter {name!r} must be keyword-only and annotated")
        if hints[name] is DataInfo:
            continue
        default = ... if parameter.default is inspect.Parameter.empty else parameter.default
        fields[name] = (
            _schema_type(hints[name]),
            Field(default, description=help_texts.get(name)),
        )
    return create_model(f"{component.__name__}Params", __base__=_Params, **fields)


def wants_data_info(component: type) -> str | None:
    """Return the name of the ``__init__`` parameter annotated DataInfo, or None."""
    hints = get_type_hints(component.__init__)  # type: ignore[misc]
    return next((name for name, hint in hints.items() if hint is DataInfo), None)


def requested_arguments(function: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """Return the arguments of a ``forward`` or ``critic``, which are its requests."""
    return {
        name: parameter
        for name, parameter in inspect.signature(function).parameters.items()
        if parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    }


def parameter_help(component: type) -> dict[str, str]:
    """Return the help text of each parameter, from the ``Args:`` section of the class docstring."""
    section = re.search(r"^Args:\n(.*?)(?:\n\S|\Z)", inspect.getdoc(component) or "", re.S | re.M)
    if section is None:
        return {}
    entries = re.findall(r"^ {4}(\w+)[^:\n]*:[ \n]+(.*?)(?=^ {4}\w|\Z)", section.group(1) + "\n", re.S | re.M)
    return {name: " ".join(text.split()) for name, text in entries}


def closest(name: str, known: Iterable[str]) -> str:
    """Return a suggestion to append to a message: the nearest known name, or all of them."""
    names = {plain(item): item for item in sorted(set(known))}
    match = difflib.get_close_matches(plain(name), names, n=1)
    if match:
        return f"; did you mean {names[match[0]]!r}?"
    return f"; known: {', '.join(names.values())}" if names else ""


def plain(name: str) -> str:
    """Return a name without case and separators, and without the ``Loss`` at the end of torch's names."""
    return re.sub(r"[^a-z0-9]", "", name.lower()).removesuffix("loss") or name


def explain(item: Any, known: Iterable[str]) -> tuple[tuple[str | int, ...], str]:
    """Return the path and message of one of pydantic's errors, with a suggestion for an unknown key."""
    path = tuple(part for part in item["loc"] if not _is_union_branch(part))
    if item["type"] == "extra_forbidden":
        return path, f"unknown key {path[-1]!r}{closest(str(path[-1]), known)}"
    if item["type"] == "missing":
        return path, "is required and missing"
    keys = "use, and parameters of that component" if path[-1:] and path[-1] in known else ", ".join(known)
    if item["type"].startswith("model_") and keys:
        return path, f"must be a map with some of the keys {keys} (given: {item['input']!r})"
    message = str(item["msg"]).removeprefix("Value error, ")
    return path, f"{message[0].lower()}{message[1:]} (given: {item['input']!r})"


def _is_union_branch(part: str | int) -> bool:
    # Pydantic adds the tried branch of a union to the path.
    return isinstance(part, str) and (part in UNION_BRANCHES or "[" in part)


def _init_parameters(component: type) -> list[tuple[str, inspect.Parameter]]:
    if component.__init__ is object.__init__:  # type: ignore[misc]
        return []
    parameters = list(inspect.signature(component.__init__).parameters.items())[1:]  # type: ignore[misc]
    catch_all = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [(name, parameter) for name, parameter in parameters if parameter.kind not in catch_all]


def _schema_type(hint: Any) -> Any:
    if get_origin(hint) is Annotated:
        inner, *bounds = get_args(hint)
        # Bounds apply to plain numbers; the values of a schedule are known only step by step.
        return Annotated[float, *bounds] | ScheduleSpec if inner == Schedulable else hint
    if hint == GeneratorBuilder:
        return Annotated[GeneratorSpec, BeforeValidator(lambda v: {"use": v} if isinstance(v, str) else v)]
    return float | ScheduleSpec if hint == Schedulable else hint
