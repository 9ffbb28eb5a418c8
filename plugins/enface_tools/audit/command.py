"""The ``audit`` command."""

from __future__ import annotations

import json
import sys
from contextlib import nullcontext, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from enface import hookimpl
from enface.cli.options import Overrides, RecipePath, Runs, Terminal, say

if TYPE_CHECKING:
    from enface_tools.audit.checks import Audit


def audit_command(
    recipe: RecipePath,
    set_: Overrides = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Output folder (default: audits/NAME).")
    ] = None,
    bits: Annotated[
        int,
        typer.Option("--bits", min=0, max=16, help="Of 64 hash bits, how many may differ between near duplicates."),
    ] = 4,
    faces: Annotated[
        int,
        typer.Option("--faces", min=0, help="Images whose faces are compared, 0.1 s each; 0 to skip."),
    ] = 200,
    fail_on: Annotated[
        str | None,
        typer.Option(
            "--fail-on",
            metavar="error|warning|CHECK,...",
            help="Exit with 1 if there are such findings, as in error,labels.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    runs: Runs = Path("runs"),
) -> None:
    """Check a recipe's pairs for duplicates, leaks, misaligned images and missing targets.

    Writes a page with the suspects, audit.json and suspects.csv. Nothing is trained.
    """
    from enface.recipe.load import load_recipe
    from enface_tools.audit.audit import audit
    from enface_tools.audit.checks import failing, parse_fail_on
    from enface_tools.audit.page import audit_content, check_folder, write_audit

    names = parse_fail_on(fail_on) if fail_on is not None else []
    loaded = load_recipe(recipe, set_ or [])
    folder = out or Path("audits") / loaded.recipe.name
    check_folder(folder)
    # Messages of packing are not part of the JSON.
    with redirect_stdout(sys.stderr) if as_json else nullcontext():
        result = audit(loaded, bits=bits, faces=faces, progress=Terminal())
    page = write_audit(result, folder)
    if as_json:
        typer.echo(json.dumps(audit_content(result), indent=2))
    else:
        _show(result)
        say(f"audit: {page}")
    failed = failing(result, names)
    if failed:
        typer.secho(f"--fail-on {fail_on}: {', '.join(failed)}", err=True, fg=typer.colors.RED)
        raise typer.Exit(1)


def _show(audit: Audit) -> None:
    """Print a row per check."""
    from enface_tools.evaluate.terminal import styled, table

    styles = {"error": "red", "warning": "yellow", "note": "blue", "ok": "green"}
    rows = []
    for finding in audit.findings:
        description = finding.looks_for
        if len(finding.counts) > 1:
            counts = [f"{count} {name}{'s' if count > 1 else ''}" for name, count in finding.counts.items()]
            description = f"{description} ({', '.join(counts)})"
        severity = styled(finding.severity, styles[finding.severity])
        rows.append((finding.check, severity, str(len(finding.suspects)), description))
    say(table(("check", "severity", "suspects", ""), rows, left=("severity",), prose=True))


@hookimpl
def commands(app: typer.Typer) -> None:
    """Add ``audit``."""
    app.command("audit")(audit_command)
