"""The command ``test-plugin``: conformance tests of a plugin's components."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from enface import hookimpl
from enface.cli.options import say
from enface.errors import EnfaceError

if TYPE_CHECKING:
    from enface.plugin.catalog import Entry
    from enface_tools.conformance.suite import Verdict

COLOURS = {"passed": typer.colors.GREEN, "failed": typer.colors.RED, "skipped": typer.colors.BRIGHT_BLACK}


def run_conformance(
    target: Annotated[
        str | None,
        typer.Argument(help="A plugin's .py file or module, or a component, as hinge or loss/l1.", show_default=False),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Every installed component.")] = False,
    kind: Annotated[str | None, typer.Option("--kind", help="Components of this kind only.")] = None,
    given: Annotated[
        list[str] | None,
        typer.Option("--with", metavar="KEY=VALUE", help="A parameter of the component; repeatable."),
    ] = None,
    backend: Annotated[
        str, typer.Option("--compile", metavar="BACKEND", help="Backend of torch.compile, as inductor.")
    ] = "aot_eager",
    as_json: Annotated[bool, typer.Option("--json", help="Print the verdicts as JSON.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", help="With --all, print a line for every rule.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print failed rules only.")] = False,
) -> None:
    """Run the conformance tests for a plugin's components.

    Exits with 1 if a rule fails, and with 2 if there is nothing to test.
    """
    if (target is None) != everything:
        raise EnfaceError("give a plugin file, a module or a component's name, or --all")
    from enface_tools.conformance.fixture import (
        fixture_for,
        parse_params,
        require_backend,
        require_buildable,
        select_components,
    )
    from enface_tools.conformance.suite import run_rules

    require_backend(backend)
    catalog, entries = select_components(target, kind)
    params = parse_params(given or [], entries)
    brief = everything and not verbose
    results: list[tuple[Entry, list[Verdict]]] = []
    for entry in entries:
        with fixture_for(entry, catalog, params, backend) as fixture:
            require_buildable(fixture)
            verdicts = run_rules(fixture)
        results.append((entry, verdicts))
        if not as_json:
            _print_verdicts(entry, verdicts, brief=brief, quiet=quiet)
    count = Counter(verdict.result for _, verdicts in results for verdict in verdicts)
    if as_json:
        typer.echo(json.dumps(_data(results, count), indent=1, ensure_ascii=False))
    else:
        say(f"{_counted(count)}; {len(results)} component{'s' if len(results) > 1 else ''}")
    if count["failed"]:
        raise typer.Exit(1)


def _print_verdicts(entry: Entry, verdicts: list[Verdict], *, brief: bool, quiet: bool) -> None:
    count = Counter(verdict.result for verdict in verdicts)
    headline = f"{entry.kind} {entry.name}"
    if brief and not count["failed"]:
        if not quiet:
            say(f"{headline}: {_counted(count)}")
        return
    shown = [verdict for verdict in verdicts if verdict.result == "failed" or not (quiet or brief)]
    if shown:
        say(f"{headline}  ({entry.origin})")
    for verdict in shown:
        result = typer.style(f"{verdict.result:7}", fg=COLOURS[verdict.result])
        say(f"  {result}  {verdict.rule}{': ' + verdict.why if verdict.why else ''}")


def _counted(count: Counter[Any]) -> str:
    return ", ".join(f"{count[result]} {result}" for result in COLOURS if count[result] or result == "failed")


def _data(results: list[tuple[Entry, list[Verdict]]], count: Counter[Any]) -> dict[str, Any]:
    components = [
        {
            "kind": entry.kind,
            "name": entry.name,
            "origin": entry.origin,
            "verdicts": [asdict(verdict) for verdict in verdicts],
        }
        for entry, verdicts in results
    ]
    return {"components": components, "count": dict(count)}


@hookimpl
def commands(app: typer.Typer) -> None:
    """Add ``test-plugin``."""
    app.command("test-plugin")(run_conformance)
