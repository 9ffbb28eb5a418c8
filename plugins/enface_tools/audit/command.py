"""Auditing the pairs of a recipe."""

from __future__ import annotations

import json
import sys
from contextlib import nullcontext, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from enface import hookimpl
from enface.cli.options import Overrides, RecipePath, Terminal, progress_bar, say

if TYPE_CHECKING:
    from enface.recipe.load import LoadedRecipe
    from enface_tools.audit import Audit, Subject

FILE_WIDTH = 200


def audit_command(
    recipe: RecipePath,
    set_: Overrides = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Where the page goes; audits/NAME unless given.")
    ] = None,
    bits: Annotated[
        int,
        typer.Option("--bits", min=0, max=16, help="Of 64 hash bits, how many may differ between near duplicates."),
    ] = 4,
    fail_on: Annotated[
        str | None,
        typer.Option(
            "--fail-on", metavar="error|warning|CHECK,...", help="Exit with 1 when these are found, as error,labels."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Look for what is wrong with a recipe's pairs: duplicates, leaks, misaligned images, missing targets.

    Writes a page with the suspects, audit.json and suspects.csv. Nothing is trained.
    """
    from enface_tools.audit import audit, failing, parse_fail_on
    from enface_tools.audit.page import as_json as plain
    from enface_tools.audit.page import check_folder, write_audit

    wanted = parse_fail_on(fail_on) if fail_on is not None else []
    from enface.recipe.load import load_recipe

    loaded = load_recipe(recipe, set_ or [])
    folder = out or Path("audits") / loaded.recipe.name
    check_folder(folder)
    # What packing has to say is no part of the JSON.
    with redirect_stdout(sys.stderr) if as_json else nullcontext():
        subject = _subject(loaded, recipe, set_ or [])
        with progress_bar("hashing") as progress:
            found = audit(subject, bits=bits, progress=progress)
    page = write_audit(found, folder)
    if as_json:
        typer.echo(json.dumps(plain(found), indent=2))
    else:
        _show(found)
        say(f"audit: {page}")
    failed = failing(found, wanted)
    if failed:
        typer.secho(f"--fail-on {fail_on}: {', '.join(failed)}", err=True, fg=typer.colors.RED)
        raise typer.Exit(1)


def _subject(loaded: LoadedRecipe, recipe: Path, overrides: list[str]) -> Subject:
    """The pairs of a recipe. Where it stops at an unreadable image, that and all others of them are left out."""
    from enface.data.pairs import split_rows
    from enface.errors import DataError
    from enface.recipe.load import load_recipe
    from enface.train.prepare import prepare_pack
    from enface_tools.audit import Subject

    stops = False
    try:
        pack = prepare_pack(loaded, Terminal())
    except DataError:
        if loaded.recipe.data.on_error == "skip":
            raise
        # Whatever else is wrong with the data raises once more.
        pack = prepare_pack(load_recipe(recipe, [*overrides, "data.on_error=skip"]), Terminal())
        stops = True
    data = loaded.recipe.data
    parts = split_rows(pack.table, data.split, refuse_shared=False)
    return Subject(loaded.recipe, pack.table, pack.images, parts, pack.about["skipped"], stops)


def _show(found: Audit) -> None:
    """A line a check."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False, markup=False)
    if not console.is_terminal:
        # A file has no width, so nothing need be folded.
        console = Console(highlight=False, markup=False, width=FILE_WIDTH)
    styles = {"error": "red", "warning": "yellow", "note": "blue", "ok": "green"}
    table = Table(box=None, pad_edge=False, header_style="bold")
    for index, header in enumerate(("check", "severity", "suspects", "")):
        table.add_column(header, justify="right" if index == 2 else "left", overflow="fold")
    for finding in found.findings:
        if len(finding.counts) > 1:
            said = ", ".join(f"{count} {name}{'s' if count > 1 else ''}" for name, count in finding.counts.items())
            said = f"{finding.asks} ({said})"
        else:
            said = finding.asks
        severity = Text(finding.severity, styles[finding.severity])
        table.add_row(finding.check, severity, str(len(finding.suspects)), said)
    console.print(table)


@hookimpl
def commands(app: typer.Typer) -> None:
    """Add ``audit``."""
    app.command("audit")(audit_command)
