"""Text of docstrings, and of the types in a JSON Schema."""

from __future__ import annotations

import inspect
import json
import re
import textwrap
from collections.abc import Iterable, Mapping
from typing import Any

NESTED = {"ScheduleSpec": "schedule", "GeneratorSpec": "generator"}
"""Models of components within another one, and the components' kinds."""

SECTIONS = ("Args", "Attributes", "Raises", "Returns", "Source")
_SECTION = re.compile(rf"^({'|'.join(SECTIONS)}):\n((?:[ \t]+\S.*(?:\n|\Z)|\n)+)", re.M)
# ``:class:`~package.module.Name` `` and the like.
_ROLE = re.compile(r":\w+:`~?(?:[\w.]*\.)?(\w+)`")

_BOUNDS = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}
_TYPES = {
    "string": "text",
    "boolean": "true or false",
    "null": "null",
    "integer": "integer",
    "number": "number",
    "array": "list",
    "object": "map",
}
# Plurals: "list of 2 integers".
_PLURALS = {"text": "text", "integer": "integers", "number": "numbers", "path": "paths", "list": "lists", "map": "maps"}


def docstring(component: type) -> str:
    """Docstring of a class, with references to other classes as their bare names; empty if it has none."""
    # Not inspect.getdoc, which falls back to the docstring of the base class.
    return _ROLE.sub(r"``\1``", inspect.cleandoc(component.__dict__.get("__doc__") or "")).strip()


def summary(text: str) -> str:
    """The first sentence of a docstring, on one line."""
    first = " ".join(text.partition("\n\n")[0].split())
    return re.split(r"(?<=[.!?])\s+(?=[A-Z\"`(])", first, maxsplit=1)[0]


def body(text: str) -> str:
    """A docstring without its sections (``Args:``, ``Raises:`` ...)."""
    return _SECTION.sub("", text).strip()


def sections(text: str) -> dict[str, str]:
    """Sections of a docstring by name, dedented."""
    return {name: textwrap.dedent(inside).strip() for name, inside in _SECTION.findall(text)}


def plain(text: str) -> str:
    """Text for a terminal: code in single backticks."""
    return text.replace("``", "`")


def unwrapped(text: str) -> str:
    """Text with each paragraph on one line."""
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in text.split("\n\n"))


def format_type(schema: Mapping[str, Any], definitions: Mapping[str, Any] | None = None) -> str:
    """Type that a JSON Schema accepts: ``number > 0``, ``integer or null``, ``one of a, b``, ``list of text``."""
    known = definitions or {}
    if "$ref" in schema:
        name = str(schema["$ref"]).rpartition("/")[2]
        return NESTED.get(name) or format_type(known.get(name, {}), known)
    either = schema.get("anyOf") or schema.get("oneOf")
    if either:
        branches = [format_type(branch, known) for branch in either]
        joint = ", or " if any(" and " in branch for branch in branches) else " or "
        return joint.join(dict.fromkeys(branches))
    if "enum" in schema:
        return f"one of {', '.join(map(format_value, schema['enum']))}"
    if "const" in schema:
        return format_value(schema["const"])
    kind = str(schema.get("type", ""))
    if kind == "array":
        return _format_list(schema, known)
    if kind == "object" and isinstance(schema.get("additionalProperties"), Mapping):
        return f"map of {_plural(format_type(schema['additionalProperties'], known))}"
    if schema.get("format") in ("path", "file-path", "directory-path"):
        return "path"
    return f"{_TYPES.get(kind, 'anything')}{_bounds(schema)}"


def format_value(value: Any) -> str:
    """A value in a recipe's notation."""
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False) if _needs_quotes(value) else value
    if isinstance(value, list):
        return f"[{', '.join(map(format_value, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{format_value(key)}: {format_value(item)}' for key, item in value.items())}}}"
    return json.dumps(value)


def _needs_quotes(text: str) -> bool:
    # YAML does not read these as text.
    is_word = text in ("true", "false", "null", "yes", "no", "on", "off")
    return is_word or not re.fullmatch(r"[A-Za-z_./][\w./-]*", text)


def _format_list(schema: Mapping[str, Any], known: Mapping[str, Any]) -> str:
    items = [format_type(item, known) for item in schema.get("prefixItems", [])]
    if items and len(set(items)) == 1:
        return f"list of {len(items)} {_plural(items[0])}"
    if items:
        return f"list of {', '.join(items)}"
    if "items" not in schema:
        return "list"
    return f"list of {_plural(format_type(schema['items'], known))}"


def _plural(type_: str) -> str:
    if type_.startswith("one of "):
        return f"any of {type_.removeprefix('one of ')}"
    if " or " in type_ and type_ != "true or false":
        return " or ".join(_plural(part) for part in type_.split(" or "))
    first, space, rest = type_.partition(" ")
    return f"{_PLURALS.get(first, first)}{space}{rest}"


def _bounds(schema: Mapping[str, Any]) -> str:
    if "minimum" in schema and "maximum" in schema:
        return f" from {_number(schema['minimum'])} to {_number(schema['maximum'])}"
    bounds: Iterable[str] = (f"{sign} {_number(schema[key])}" for key, sign in _BOUNDS.items() if key in schema)
    joined = " and ".join(bounds)
    return f" {joined}" if joined else ""


def _number(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.15g}"
