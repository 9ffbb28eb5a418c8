"""The ``runs`` command, and the names of runs for all commands."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from enface import hookimpl
from enface.cli.options import Runs, say
from enface.errors import EnfaceError
from enface_tools.evaluate.splits import Split

if TYPE_CHECKING:
    from enface_tools.runs.records import RunRecord


def runs_command(
    runs: Runs = Path("runs"),
    name: Annotated[
        str | None, typer.Option("--name", metavar="PATTERN", help="Only runs of these recipes, as ladder-*.")
    ] = None,
    metric: Annotated[
        list[str] | None,
        typer.Option("--metric", metavar="NAME", help="Also show this metric; repeatable."),
    ] = None,
    sort: Annotated[
        str, typer.Option("--sort", metavar="KEY", help="time (newest first), name, or a metric (best first).")
    ] = "time",
    split: Annotated[
        Split | None,
        typer.Option("--split", help="People whose metrics are shown (default: val, or test if no run measured val)."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List runs: state, step, metrics of their evaluation and time of training.

    Other commands take a run by its name: latest, NAME (its newest run), NAME/ID, best, best:METRIC.
    """
    from enface_tools.runs.records import choice_split, read_records, run_directories
    from enface_tools.runs.table import shown_metrics, sorted_records, table_of_runs

    directories = run_directories(runs, name or "*")
    if not directories:
        raise EnfaceError(_no_runs(runs, name))
    records = read_records(directories)
    chosen = split or choice_split(records)
    records = sorted_records(records, sort, chosen)
    if as_json:
        typer.echo(json.dumps([_as_dict(record, chosen) for record in records], indent=1))
        return
    metrics = shown_metrics(records, chosen, [*(metric or []), *([] if sort in ("time", "name") else [sort])])
    say(f"{len(records)} run{'s' if len(records) > 1 else ''} below {runs}; metrics of {chosen} people")
    say(table_of_runs(records, metrics, chosen))


def _no_runs(runs: Path, name: str | None) -> str:
    from enface.plugin.schema import closest
    from enface_tools.runs.records import run_directories

    known = [path.parent.name for path in run_directories(runs)]
    if known and name is not None:
        return f"--name {name}: no run below {runs} has such a name{closest(name, known)}"
    return f"{runs} holds no run; train one with: enface run RECIPE, or name another folder with --runs"


def _as_dict(record: RunRecord, split: Split) -> dict[str, Any]:
    evaluation = record.evaluation(split)
    started = None if record.started is None else datetime.fromtimestamp(record.started).astimezone()
    return {
        "name": record.name,
        "id": record.id,
        "directory": str(record.directory),
        "state": record.state,
        "step": record.step,
        "steps": record.steps,
        "started": None if started is None else started.isoformat(timespec="seconds"),
        "seconds": None if record.seconds is None else round(record.seconds, 1),
        "split": split,
        "metrics": {} if evaluation is None else {name: evaluation.value(name) for name in evaluation.names},
    }


@hookimpl
def find_run(path: Path, runs: Path, recipe: bool) -> Path | None:
    """Find runs by their names."""
    from enface_tools.runs.names import find_run, find_run_of_recipe

    return find_run_of_recipe(path, runs) if recipe else find_run(path, runs)


@hookimpl
def complete_name(text: str, recipe: bool) -> list[str]:
    """Complete the names of runs below the default folder."""
    known = {path.parent.relative_to("runs").as_posix() for path in Path("runs").glob("*/*/recipe.yaml")}
    names = {"latest", "best", *known, *(name.partition("/")[0] for name in known)} if known else set()
    return [name for name in names if name.startswith(text)]


@hookimpl
def commands(app: typer.Typer) -> None:
    """Add ``runs``."""
    app.command("runs")(runs_command)
