"""The ``compare`` command."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from enface import DataError, hookimpl
from enface.cli.options import Runs, Terminal, say
from enface_tools.evaluate.splits import Split

MAX_GROUPS, MAX_NAME = 2, 60


def compare_command(
    paths: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN...",
            help="Runs (directories, NAME, latest, best), folders of runs, results of enface pairs.",
            show_default=False,
        ),
    ],
    control: Annotated[
        Path | None, typer.Option("--control", metavar="RUN", help="The run to compare with (default: the first RUN).")
    ] = None,
    split: Annotated[
        Split, typer.Option("--split", help="People to compare on: val to choose by, test for the final number.")
    ] = "val",
    by: Annotated[
        str,
        typer.Option("--by", metavar="LABEL,...", help="Also compare separately for each value, as in pose,light."),
    ] = "",
    regions: Annotated[bool, typer.Option("--regions", help="Also compare metrics on regions of the face.")] = False,
    metrics: Annotated[
        str, typer.Option("--metrics", metavar="NAME,...", help="Metrics to compare (default: all).")
    ] = "",
    margin: Annotated[
        list[str] | None,
        typer.Option(
            "--margin",
            metavar="METRIC=X,...",
            help="Largest differences that do not matter, as lpips=0.01, to test equivalence; repeatable.",
        ),
    ] = None,
    skip_unlike: Annotated[
        bool, typer.Option("--skip-unlike", help="Skip metrics whose cards differ instead of stopping.")
    ] = False,
    each: Annotated[
        bool, typer.Option("--each", help="Compare every run on its own instead of averaging over seeds.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Output folder (default: comparisons/A-vs-B).")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print comparison.json instead of tables.")] = False,
    runs: Runs = Path("runs"),
) -> None:
    """Compare evaluated runs with a control, image by image: differences, intervals, tests, verdicts.

    Runs whose recipes differ only by the seed are one group, averaged over the seeds. Writes comparison.json, tables
    and a page.
    """
    from enface_tools.compare.comparison import compare
    from enface_tools.compare.console import show
    from enface_tools.compare.files import write_files
    from enface_tools.compare.page import write_comparison
    from enface_tools.runs.names import find_runs

    comparison = compare(
        find_runs(paths, runs),
        None if control is None else find_runs([control], runs)[0],
        split=split,
        by=split_names(by),
        regions=regions,
        metrics=split_names(metrics) or None,
        margins=metric_numbers(margin or [], "--margin"),
        skip_unlike=skip_unlike,
        each=each,
        progress=None if as_json else Terminal(),
    )
    folder = out or Path("comparisons") / folder_name([group.name for group in comparison.groups])
    content = write_files(comparison, folder)
    page = write_comparison(folder)
    if as_json:
        typer.echo(json.dumps(content, indent=1, allow_nan=False))
        return
    show(comparison)
    say(f"comparison: {page}")


def folder_name(groups: Sequence[str]) -> str:
    """Return ``A-vs-B`` in characters that are safe in a file name."""
    safe = [re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.")[:MAX_NAME] or "group" for name in groups]
    control, *others = safe
    more = f"-and-{len(others) - MAX_GROUPS}-more" if len(others) > MAX_GROUPS else ""
    return f"{control}-vs-{'-'.join(others[:MAX_GROUPS])}{more}"


def metric_numbers(texts: Sequence[str], option: str) -> dict[str, float]:
    """Read ``METRIC=X,...`` of an option that may be repeated; each X is a positive number.

    Raises:
        DataError: if a text is not such a list, or names a metric twice.
    """
    numbers: dict[str, float] = {}
    for item in split_names(",".join(texts)):
        name, equals, text = (part.strip() for part in item.partition("="))
        if not (name and equals):
            raise DataError(f"{option}: {item!r} is not METRIC=X, as in lpips=0.01")
        if name in numbers:
            raise DataError(f"{option}: {name} is listed twice")
        try:
            numbers[name] = float(text)
        except ValueError:
            raise DataError(f"{option}: {text!r} is not a number; write {name}=0.01") from None
        if not 0 < numbers[name] < math.inf:
            raise DataError(f"{option}: {name}={text} is not a positive number")
    return numbers


def split_names(text: str) -> list[str]:
    """Split a comma-separated list."""
    return list(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))


@hookimpl
def commands(app: typer.Typer) -> None:
    """Add ``compare``."""
    app.command("compare")(compare_command)
