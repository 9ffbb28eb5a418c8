"""The ``plugins`` and ``schema`` commands: describe the installed components."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from enface import hookimpl
from enface.cli.options import say
from enface.errors import EnfaceError
from enface_tools.evaluate.terminal import terminal_width

if TYPE_CHECKING:
    import pluggy

    from enface.plugin.catalog import Catalog
    from enface_tools.catalog.describe import ComponentInfo

WIDTH = 100
PluginFiles = Annotated[
    list[str] | None, typer.Option("--plugin", metavar="FILE", help="Also load this plugin file; repeatable.")
]


def plugins(
    kind: Annotated[str | None, typer.Argument(help="A kind, such as loss; default: all.", show_default=False)] = None,
    name: Annotated[str | None, typer.Argument(help="A component of that kind.", show_default=False)] = None,
    plugin: PluginFiles = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, with parameters as JSON Schema.")] = False,
) -> None:
    """List the components that recipes can use, or describe one: its parameters, requests and claims."""
    from enface_tools.catalog.describe import describe_components

    catalog, manager = _load(plugin)
    infos = describe_components(catalog, manager)
    if kind is None:
        by_kind = {each: [info for info in infos if info.entry.kind == each] for each in catalog.kinds}
        _print(_overview_data(by_kind) if as_json else _overview(by_kind), as_json)
        return
    kind = _known_kind(kind, list(catalog.kinds))
    of_kind = sorted((info for info in infos if info.entry.kind == kind), key=lambda info: info.entry.name)
    if name is None:
        _print([info.brief() for info in of_kind] if as_json else _listing(of_kind), as_json)
        return
    entry = catalog.get(kind, name)
    (info,) = [info for info in of_kind if info.entry is entry]
    _print(info.full() if as_json else _page(info), as_json)


def schema(
    plugin: PluginFiles = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Write to this file; default: print.")
    ] = None,
) -> None:
    """Write the JSON Schema of recipes, by which an editor completes and checks them.

    An editor finds it by the first line of a recipe: # yaml-language-server: $schema=FILE
    """
    from enface_tools.catalog.json_schema import recipe_schema

    catalog, _ = _load(plugin)
    text = json.dumps(recipe_schema(catalog), indent=1, ensure_ascii=False)
    if out is None:
        typer.echo(text)
        return
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise EnfaceError(f"cannot write {out} ({error.strerror})") from error
    say(f"schema of recipes: {out}")


def _load(plugin: list[str] | None) -> tuple[Catalog, pluggy.PluginManager]:
    from enface.plugin.catalog import Catalog
    from enface.plugin.manager import load_plugins

    manager = load_plugins(plugin or [])
    return Catalog(manager), manager


def _known_kind(kind: str, kinds: list[str]) -> str:
    """A kind by its name or its plural."""
    from enface.plugin.schema import closest
    from enface_tools.catalog.describe import PLURALS

    singular = {plural: name for name, plural in PLURALS.items()}.get(kind, kind)
    if singular not in kinds:
        raise EnfaceError(f"no kind of component is called {kind!r}{closest(kind, kinds)}")
    return singular


def _print(output: Any, as_json: bool) -> None:
    typer.echo(json.dumps(output, indent=2, ensure_ascii=False) if as_json else output)


def _overview_data(by_kind: dict[str, list[ComponentInfo]]) -> dict[str, Any]:
    return {
        kind: [{"name": item["name"], "summary": item["summary"]} for item in (info.brief() for info in infos)]
        for kind, infos in by_kind.items()
    }


def _overview(by_kind: dict[str, list[ComponentInfo]]) -> str:
    width = max(len(info.entry.name) for infos in by_kind.values() for info in infos)
    blocks = []
    for kind, infos in by_kind.items():
        lines = [_hanging(f"  {info.entry.name:{width}}  ", info.brief()["summary"]) for info in infos]
        blocks.append("\n".join([f"{kind} ({len(infos)})", *lines]))
    return "\n\n".join(blocks)


def _listing(infos: list[ComponentInfo]) -> str:
    lines = []
    for info in infos:
        lines += [f"{info.entry.name}  ({info.origin})", _hanging("    ", info.brief()["summary"])]
    return "\n".join(line for line in lines if line.strip())


def _page(info: ComponentInfo) -> str:
    """Full description of a component for a terminal."""
    from enface_tools.catalog import text

    origin = info.origin
    places = [f"from {origin}"] if origin.distribution else []
    places += [f"module {origin.module}", f"file {origin.file}" if origin.file else ""]
    head = "\n".join([f"{info.entry.kind} {info.entry.name}", *(f"  {place}" for place in places if place)])
    blocks = [head, text.plain(text.body(info.docstring)), _parameters(info), _facts(info)]
    for title, content in text.sections(info.docstring).items():
        if title not in ("Args", "Attributes"):
            blocks.append(f"{title}:\n{textwrap.indent(text.plain(content), '  ')}")
    return "\n\n".join(block for block in blocks if block)


def _parameters(info: ComponentInfo) -> str:
    from enface_tools.catalog import text

    if not info.parameters:
        return "Parameters: none"
    lines = ["Parameters:"]
    for item in info.parameters:
        default = item.default if item.default == "required" else f"default {item.default}"
        lines.append(f"  {item.name}: {item.type}; {default}")
        lines += [_hanging("      ", text.plain(item.help))] if item.help else []
    return "\n".join(lines)


def _facts(info: ComponentInfo) -> str:
    """Properties specific to its kind, one per line."""
    facts, lines = info.facts, []
    for side, names in facts.get("requests", {}).items():
        requests = [f"{name} (optional)" if name in facts["optional"] else name for name in names]
        lines.append(f"Requests in {side}: {', '.join(requests) or 'nothing'}")
    if "claims" in facts:
        claims = [claim for claim, holds in facts["claims"].items() if holds]
        lines.append(f"Unit: {facts['unit'] or 'derived from the shape of its map'}")
        lines.append(f"Claims: {', '.join(claims) or 'nothing'}")
    if "provides" in facts:
        lines.append(f"Provides: {', '.join(facts['provides']) or 'known once it is built'}")
    if facts.get("higher_is_better") is not None:
        lines.append(f"Better: {'higher' if facts['higher_is_better'] else 'lower'}")
        lines.append(f"Range: {facts['range']}")
    return "\n".join(lines)


def _hanging(head: str, text: str) -> str:
    indent = " " * len(head)
    width = min(terminal_width() or WIDTH, WIDTH)
    return textwrap.fill(text, width, initial_indent=head, subsequent_indent=indent) if text else head.rstrip()


@hookimpl
def commands(app: typer.Typer) -> None:
    """Add ``plugins`` and ``schema``."""
    app.command("plugins")(plugins)
    app.command("schema")(schema)
