"""What is installed, described: for people, for programs, and for the editor of a recipe."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from enface.cli.options import app, say
from enface.errors import EnfaceError

if TYPE_CHECKING:
    import pluggy

    from enface.plugin.catalog import Catalog
    from enface_tools.catalog import About

WIDTH = 100
PluginFiles = Annotated[
    list[str] | None, typer.Option("--plugin", metavar="FILE", help="A plugin file to load as well; repeatable.")
]


@app.command()
def plugins(
    kind: Annotated[str | None, typer.Argument(help="A kind, as loss; all unless given.", show_default=False)] = None,
    name: Annotated[str | None, typer.Argument(help="One of that kind.", show_default=False)] = None,
    plugin: PluginFiles = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON; parameters as JSON Schema.")] = False,
) -> None:
    """List what recipes can name, or show one component: its parameters, what it asks for and what it promises."""
    from enface.plugin.components import KINDS
    from enface_tools.catalog import described

    catalog, manager = _load(plugin)
    everything = described(catalog, manager)
    if kind is None:
        by_kind = {of: [about for about in everything if about.entry.kind == of] for of in KINDS}
        _say(_overview_data(by_kind) if as_json else _overview(by_kind), as_json)
        return
    kind = _known_kind(kind, list(KINDS))
    of_kind = sorted((about for about in everything if about.entry.kind == kind), key=lambda about: about.entry.name)
    if name is None:
        _say([about.brief() for about in of_kind] if as_json else _listing(of_kind), as_json)
        return
    entry = catalog.get(kind, name)
    (about,) = [about for about in of_kind if about.entry is entry]
    _say(about.full() if as_json else _page(about), as_json)


@app.command()
def schema(
    plugin: PluginFiles = None,
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="Where to; printed unless given.")] = None,
) -> None:
    """Write the JSON Schema of recipes, with which an editor completes and checks them.

    Its first line then tells a recipe's editor where it is: # yaml-language-server: $schema=FILE
    """
    from enface_tools.catalog import recipe_schema

    catalog, _ = _load(plugin)
    text = json.dumps(recipe_schema(catalog), indent=1, ensure_ascii=False)
    if out is None:
        typer.echo(text)
        return
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise EnfaceError(f"{out} cannot be written: {error.strerror}") from error
    say(f"schema of recipes: {out}")


def _load(plugin: list[str] | None) -> tuple[Catalog, pluggy.PluginManager]:
    from enface.plugin.catalog import Catalog
    from enface.plugin.manager import load_plugins

    manager = load_plugins(plugin or [])
    return Catalog(manager), manager


def _known_kind(kind: str, kinds: list[str]) -> str:
    """A kind by its name or its plural."""
    from enface.plugin.schema import closest
    from enface_tools.catalog import PLURALS

    singular = {many: one for one, many in PLURALS.items()}.get(kind, kind)
    if singular not in kinds:
        raise EnfaceError(f"no kind of component is called {kind!r}{closest(kind, kinds)}")
    return singular


def _say(what: Any, as_json: bool) -> None:
    typer.echo(json.dumps(what, indent=2, ensure_ascii=False) if as_json else what)


def _overview_data(by_kind: dict[str, list[About]]) -> dict[str, Any]:
    return {
        kind: [{"name": item["name"], "summary": item["summary"]} for item in (about.brief() for about in entries)]
        for kind, entries in by_kind.items()
    }


def _overview(by_kind: dict[str, list[About]]) -> str:
    width = max(len(about.entry.name) for entries in by_kind.values() for about in entries)
    blocks = []
    for kind, entries in by_kind.items():
        lines = [_hanging(f"  {about.entry.name:{width}}  ", about.brief()["summary"]) for about in entries]
        blocks.append("\n".join([f"{kind} ({len(entries)})", *lines]))
    return "\n\n".join(blocks)


def _listing(entries: list[About]) -> str:
    lines = []
    for about in entries:
        lines += [f"{about.entry.name}  ({about.origin})", _hanging("    ", about.brief()["summary"])]
    return "\n".join(line for line in lines if line.strip())


def _page(about: About) -> str:
    """All of a component, for a terminal."""
    from enface_tools.catalog import text as words

    origin = about.origin
    places = [f"from {origin}"] if origin.distribution else []
    places += [f"module {origin.module}", f"file {origin.file}" if origin.file else ""]
    text = words.plain(words.body(about.docstring))
    blocks = [f"{about.entry.kind} {about.entry.name}\n" + "\n".join(f"  {place}" for place in places if place), text]
    blocks += [_parameters(about), _facts(about)]
    for title, inside in words.sections(about.docstring).items():
        if title not in ("Args", "Attributes"):
            blocks.append(f"{title}:\n{textwrap.indent(words.plain(inside), '  ')}")
    return "\n\n".join(block for block in blocks if block)


def _parameters(about: About) -> str:
    from enface_tools.catalog import text as words

    if not about.parameters:
        return "Parameters: none"
    lines = ["Parameters:"]
    for item in about.parameters:
        default = item.default if item.default == "required" else f"default {item.default}"
        lines.append(f"  {item.name}: {item.type}; {default}")
        lines += [_hanging("      ", words.plain(item.help))] if item.help else []
    return "\n".join(lines)


def _facts(about: About) -> str:
    """What only its kind has, a line each."""
    facts, lines = about.facts, []
    for side, names in facts.get("requests", {}).items():
        asked = [f"{name} (if there is)" if name in facts["optional"] else name for name in names]
        lines.append(f"Asks for, in {side}: {', '.join(asked) or 'nothing'}")
    if "unit" in facts:
        claimed = [claim for claim, holds in facts["claims"].items() if holds]
        lines.append(f"Unit: {facts['unit'] or 'told from the shape of its map'}")
        lines.append(f"Claims: {', '.join(claimed) or 'nothing'}")
    if "provides" in facts:
        lines.append(f"Provides: {', '.join(facts['provides']) or 'known once it is built'}")
    if facts.get("higher_is_better") is not None:
        lines.append(f"Better: {'higher' if facts['higher_is_better'] else 'lower'}")
    return "\n".join(lines)


def _hanging(head: str, text: str) -> str:
    indent = " " * len(head)
    return textwrap.fill(text, WIDTH, initial_indent=head, subsequent_indent=indent) if text else head.rstrip()
