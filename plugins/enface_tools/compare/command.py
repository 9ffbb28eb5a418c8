"""The ``compare`` command."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from enface import hookimpl
from enface.cli.options import say

NAMED, LONGEST = 2, 60


def compare(
    runs: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN...", help="Run directories, folders of runs, results of --pairs.", show_default=False
        ),
    ],
    control: Annotated[
        Path | None, typer.Option("--control", metavar="RUN", help="What the others are compared with; else the first.")
    ] = None,
    by: Annotated[
        str, typer.Option("--by", metavar="COLUMN,...", help="Compare inside each value of these, too, as pose,light.")
    ] = "",
    regions: Annotated[bool, typer.Option("--regions", help="Compare metrics on parts of the face, too.")] = False,
    metrics: Annotated[str, typer.Option("--metrics", metavar="NAME,...", help="These only; all unless given.")] = "",
    skip_unlike: Annotated[
        bool, typer.Option("--skip-unlike", help="Leave out metrics whose cards differ, instead of stopping.")
    ] = False,
    each: Annotated[
        bool, typer.Option("--each", help="Take every run by itself, not the seeds of one together.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Where files go; comparisons/A-vs-B unless given.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print comparison.json instead of tables.")] = False,
) -> None:
    """Compare evaluated runs with a control, image by image: differences, intervals, tests, verdicts.

    Runs whose recipes differ by the seed alone are one group, averaged over the seeds. Writes comparison.json,
    tables and a page.
    """
    from enface_tools.compare import compare as compared
    from enface_tools.compare import write_files
    from enface_tools.compare.console import show
    from enface_tools.compare.page import write_comparison

    found = compared(
        runs,
        control,
        by=_names(by),
        regions=regions,
        only=_names(metrics) or None,
        skip_unlike=skip_unlike,
        each=each,
    )
    folder = out or Path("comparisons") / folder_name([group.name for group in found.groups])
    contents = write_files(found, folder)
    page = write_comparison(folder)
    if as_json:
        typer.echo(json.dumps(contents, indent=1, allow_nan=False))
        return
    show(found)
    say(f"comparison: {page}")


def folder_name(groups: Sequence[str]) -> str:
    """``A-vs-B``, of what may stand in a file's name."""
    plain = [re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.")[:LONGEST] or "group" for name in groups]
    control, *others = plain
    more = f"-and-{len(others) - NAMED}-more" if len(others) > NAMED else ""
    return f"{control}-vs-{'-'.join(others[:NAMED])}{more}"


def _names(text: str) -> list[str]:
    """The parts of a list with commas."""
    return list(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))


@hookimpl
def commands(app: typer.Typer) -> None:
    """Add ``compare``."""
    app.command("compare")(compare)
