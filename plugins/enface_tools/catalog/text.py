"""Docstrings and JSON Schemas in plain words."""

from __future__ import annotations

import inspect
import json
import re
import textwrap
from collections.abc import Iterable, Mapping
from typing import Any

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
# What many of a kind are called: "list of 2 integers".
_MANY = {"text": "text", "integer": "integers", "number": "numbers", "path": "paths"}


def docstring(component: type) -> str:
    """A class's own docstring with references to other classes as their bare names; empty where it has none."""
    # A class without one would be described by its base's.
    return _ROLE.sub(r"``\1``", inspect.cleandoc(component.__dict__.get("__doc__") or "")).strip()


def summary(text: str) -> str:
    """The first sentence of a docstring, on one line."""
    first = " ".join(text.partition("\n\n")[0].split())
    return re.split(r"(?<=[.!?])\s+(?=[A-Z\"`(])", first, maxsplit=1)[0]


def body(text: str) -> str:
    """A docstring without its sections (``Args:``, ``Raises:`` ...)."""
    return _SECTION.sub("", text).strip()


def sections(text: str) -> dict[str, str]:
    """The sections of a docstring by name, each as it stands without the indent."""
    return {name: textwrap.dedent(inside).strip() for name, inside in _SECTION.findall(text)}


def plain(text: str) -> str:
    """Text for a terminal: code between single backticks."""
    return text.replace("``", "`")


def unwrapped(text: str) -> str:
    """Text with a line for each paragraph."""
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in text.split("\n\n"))


def type_in_words(schema: Mapping[str, Any], definitions: Mapping[str, Any] | None = None) -> str:
    """What a JSON Schema lets through: ``number > 0``, ``integer or null``, ``one of a, b``, ``list of text``."""
    known = definitions or {}
    if "$ref" in schema:
        name = str(schema["$ref"]).rpartition("/")[2]
        return "schedule" if name == "ScheduleSpec" else type_in_words(known.get(name, {}), known)
    if "anyOf" in schema:
        branches = [type_in_words(branch, known) for branch in schema["anyOf"]]
        joint = ", or " if any(" and " in branch for branch in branches) else " or "
        return joint.join(dict.fromkeys(branches))
    if "enum" in schema:
        return f"one of {', '.join(map(in_yaml, schema['enum']))}"
    if "const" in schema:
        return in_yaml(schema["const"])
    kind = str(schema.get("type", ""))
    if kind == "array":
        return _list_in_words(schema, known)
    if kind == "object" and isinstance(schema.get("additionalProperties"), Mapping):
        return f"map of {_many(type_in_words(schema['additionalProperties'], known))}"
    if schema.get("format") in ("path", "file-path", "directory-path"):
        return "path"
    return f"{_TYPES.get(kind, 'anything')}{_bounds(schema)}"


def in_yaml(value: Any) -> str:
    """A value as a recipe would write it."""
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False) if _needs_quotes(value) else value
    if isinstance(value, list):
        return f"[{', '.join(map(in_yaml, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{in_yaml(key)}: {in_yaml(item)}' for key, item in value.items())}}}"
    return json.dumps(value)


def _needs_quotes(text: str) -> bool:
    # YAML reads these words as something else.
    is_word = text in ("true", "false", "null", "yes", "no", "on", "off")
    return is_word or not re.fullmatch(r"[A-Za-z_./][\w./-]*", text)


def _list_in_words(schema: Mapping[str, Any], known: Mapping[str, Any]) -> str:
    items = [type_in_words(item, known) for item in schema.get("prefixItems", [])]
    if items and len(set(items)) == 1:
        return f"list of {len(items)} {_many(items[0])}"
    if items:
        return f"list of {', '.join(items)}"
    if "items" not in schema:
        return "list"
    return f"list of {_many(type_in_words(schema['items'], known))}"


def _many(words: str) -> str:
    if words.startswith("one of "):
        return f"any of {words.removeprefix('one of ')}"
    first, space, rest = words.partition(" ")
    return f"{_MANY.get(first, first)}{space}{rest}"


def _bounds(schema: Mapping[str, Any]) -> str:
    if "minimum" in schema and "maximum" in schema:
        return f" from {schema['minimum']:g} to {schema['maximum']:g}"
    found: Iterable[str] = (f"{sign} {schema[key]:g}" for key, sign in _BOUNDS.items() if key in schema)
    joined = " and ".join(found)
    return f" {joined}" if joined else ""
