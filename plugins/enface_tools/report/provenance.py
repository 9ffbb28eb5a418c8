"""What a report says of how a run was made: the recipe, what it changes of its parent, the machine, the command."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from enface_tools.report.files import Found, mapping
from enface_tools.report.numbers import NONE


@dataclass(frozen=True)
class Change:
    """A key that a recipe sets otherwise than its parent."""

    key: str
    before: str
    after: str


@dataclass(frozen=True)
class Lineage:
    """Where a recipe comes from.

    Attributes:
        parent: Name of the parent recipe, empty without one.
        changes: What differs from it.
        overrides: What the command line set.
    """

    recipe: str
    parent: str
    changes: list[Change]
    overrides: list[str]


def recipe_name(text: str) -> str:
    """The name in a recipe's text, empty where it has none."""
    try:
        plain = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError):
        return ""
    return str(plain.get("name") or "") if isinstance(plain, dict) else ""


def lineage(found: Found) -> Lineage | None:
    """What ``lineage.json`` says; None when there is none."""
    plain = found.mapping("lineage.json")
    if not plain:
        return None
    # The parent's file, or the parent itself.
    parent = plain.get("parent")
    named = mapping(plain, "parent").get("name") if isinstance(parent, Mapping) else Path(str(parent or "")).name
    overrides = plain.get("overrides")
    return Lineage(
        str(plain.get("recipe") or ""),
        str(named or ("its parent" if parent else "")),
        changes(plain.get("changes")),
        [str(item) for item in overrides] if isinstance(overrides, list) else [],
    )


def changes(listed: Any) -> list[Change]:
    """Keys that differ, of ``[{"key", "from", "to"}, ...]``."""
    return [
        Change(str(item.get("key")), value_text(item.get("from")), value_text(item.get("to")))
        for item in (listed if isinstance(listed, list) else [])
        if isinstance(item, Mapping)
    ]


def value_text(value: Any) -> str:
    """A recipe's value as a reader of the recipe writes it; a dash for what is not there."""
    if value is None:
        return NONE
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def commands(run: Path, about: Mapping[str, Any], summary: Mapping[str, Any], recipe: str) -> list[str]:
    """The commands that make this again, as far as it is known how."""
    git, here = mapping(about, "git"), shlex.quote(run.as_posix())
    found = [f"git checkout {shlex.quote(str(git['commit']))}"] if git.get("commit") else []
    if recipe:
        found += [f"enface run {here}/recipe.yaml"]
    if recipe and summary:
        found += [f"enface evaluate {here}"]
    return found


def skipped(about: Mapping[str, Any]) -> int:
    """How many unreadable images were left out of the data."""
    found = mapping(about, "pack").get("skipped", 0)
    return len(found) if isinstance(found, list) else found if isinstance(found, int) else 0


def flat(value: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Nested maps as lines: ``packages.torch``, its version."""
    for key, item in value.items():
        name = f"{prefix}{key}"
        if isinstance(item, dict):
            yield from flat(item, f"{name}.")
        elif isinstance(item, list):
            yield name, shlex.join(map(str, item))
        else:
            yield name, "not installed" if item is None else str(item)
