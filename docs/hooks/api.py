"""Generate the list of everything that ``enface`` exports, in the page of the Python API."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterable, Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from markdown_text import cell, literal, table

import enface
from enface.plugin import hooks
from enface_tools.catalog import text

PAGE = "python.md"
MARKER = "<!-- exported names -->"
# The page of the kinds of components describes these members of modules, one list a module.
KINDS = Path(__file__).parents[1] / "plugins" / "components.md"
MEMBERS = re.compile(r"^::: ([\w.]+)\n    options:\n      members: \[(.*)\]", re.M)


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Insert the list into its page."""
    return markdown.replace(MARKER, listing()) if page.file.src_uri == PAGE else markdown


def exported() -> dict[str, str]:
    """Return the names that ``enface`` exports and the place of each: ``enface.recipe.load.load_recipe``."""
    stub = Path(enface.__file__).with_name("__init__.pyi").read_text(encoding="utf-8")
    own = {
        name.name: f"enface.{node.module}.{name.name}"
        for node in ast.parse(stub).body
        if isinstance(node, ast.ImportFrom) and node.level
        for name in node.names
    }
    added = {item.name: item.value.replace(":", ".") for item in entry_points(group="enface.functions")}
    return dict(sorted((own | added).items(), key=lambda item: (item[0].lower(), item[0])))


def described_elsewhere() -> set[str]:
    """Return the places of names that other pages describe: base classes, and the classes of hooks."""
    modules = MEMBERS.findall(KINDS.read_text(encoding="utf-8"))
    classes = {f"{module}.{name}" for module, names in modules for name in names.split(", ")}
    return classes | {f"{hooks.__name__}.{name}" for name, value in vars(hooks).items() if inspect.isclass(value)}


def listing() -> str:
    """Return a table for each group of names, then the descriptions of those that no other page has."""
    names = exported()
    groups: dict[str, dict[str, str]] = {title: {} for title in ("Functions", "Objects", "Errors", "Base classes")}
    for name, place in names.items():
        groups[group(getattr(enface, name), place)][name] = place
    parts = [part for title, members in groups.items() for part in (f"### {title}", overview(members))]
    rest = [place for place in names.values() if place not in described_elsewhere()]
    return "\n\n".join([*parts, "## Descriptions", *(f"::: {place}" for place in rest)])


def group(value: Any, place: str) -> str:
    """Return the title of the group to which an exported value belongs."""
    if isinstance(value, type) and issubclass(value, Exception):
        return "Errors"
    if place in described_elsewhere() and not place.startswith(hooks.__name__):
        return "Base classes"
    return "Functions" if inspect.isfunction(value) else "Objects"


def overview(members: Mapping[str, str]) -> str:
    """Return a table of names with their signatures and summaries."""
    rows = [
        (f"[`{name}`{{.name}}][{place}]<br>{signature(getattr(enface, name))}", cell(summary(getattr(enface, name))))
        for name, place in members.items()
    ]
    return table(("`enface.`", "meaning"), rows)


def signature(value: Any) -> str:
    """Return the parameters of a function or class without their types; ``&nbsp;`` if it has none."""
    if not callable(value) or (isinstance(value, type) and issubclass(value, Exception)):
        return "&nbsp;"
    try:
        parameters = inspect.signature(value).parameters.values()
    except (TypeError, ValueError):
        return "&nbsp;"
    return literal(f"({', '.join(shown(parameters))})")


def shown(parameters: Iterable[inspect.Parameter]) -> list[str]:
    plain = [item.replace(annotation=inspect.Parameter.empty) for item in parameters]
    texts = []
    for item in plain:
        if item.kind is item.KEYWORD_ONLY and "*" not in texts and not any(each.startswith("*") for each in texts):
            texts.append("*")
        texts.append(str(item).replace("'", '"'))
    return texts


def summary(value: Any) -> str:
    """Return the first sentence of a docstring; that of a constant is not known at run time."""
    if not (inspect.isfunction(value) or isinstance(value, type)):
        return ""
    return re.sub(r":\w+:`~?(?:[\w.]*\.)?(\w+)`", r"``\1``", text.summary(inspect.getdoc(value) or ""))
