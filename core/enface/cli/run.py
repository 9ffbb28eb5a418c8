"""The commands of the core: ``run`` and ``check``."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from contextlib import nullcontext, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from enface.cli.options import Overrides, Processes, RecipePath, Runs, Terminal, launch_processes, say
from enface.system.messages import report_unavailable
from enface.system.processes import is_launched, report_to_launcher, set_arguments

if TYPE_CHECKING:
    from enface.recipe.load import LoadedRecipe
    from enface.recipe.models import Recipe


def run(
    recipe: RecipePath,
    set_: Overrides = None,
    resume: Annotated[bool, typer.Option("--resume", help="Resume the latest run of this recipe.")] = False,
    runs: Runs = Path("runs"),
    processes: Processes = 1,
) -> None:
    """Train a recipe, evaluate it and report.

    The report is on the test split, which training never saw.
    """
    if processes > 1:
        _launch(recipe, set_ or [], resume, runs, processes)
        return
    from enface.recipe.load import load_recipe
    from enface.training.engine import leave_process_group
    from enface.training.prepare import train
    from enface.training.trainer import Interrupted

    try:
        train(load_recipe(recipe, set_ or []), runs=runs, resume=resume, progress=Terminal())
    except Interrupted as stopped:
        text = f"stopped by {stopped}; everything is saved. Resume with: {_resume_command(stopped.directory)}"
        if not report_to_launcher(text) and stopped.is_main:
            say(text)
        raise typer.Exit(128 + stopped.number) from None
    leave_process_group()


def check(
    recipe: RecipePath,
    set_: Overrides = None,
    data: Annotated[
        bool, typer.Option("--data", help="Also pack the data, build every stage and measure its terms on a batch.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Check a recipe, or with --data all of it.

    Keys and components are checked without data. With --data, everything that training would refuse is refused, and
    each term's part of the objective on one batch is shown.
    """
    from enface.recipe.load import load_recipe

    loaded = load_recipe(recipe, set_ or [])
    # Messages of packing are not part of the JSON.
    with redirect_stdout(sys.stderr) if as_json else nullcontext():
        inspections, unavailable = _inspect(loaded) if data else ({}, {})
    if as_json:
        typer.echo(json.dumps(_as_dict(loaded.recipe, inspections, unavailable), indent=2))
        return
    for name, stage in loaded.recipe.stages.items():
        frozen = f", frozen: {', '.join(stage.freeze)}" if stage.freeze else ""
        say(f"{name}: {stage.steps} steps of {stage.batch}, terms: {', '.join(stage.terms)}{frozen}")
        if name in inspections:
            inspections[name].show(Terminal())
    report_unavailable(unavailable, Terminal())
    say(f"{loaded.recipe.name}: ok")


def _launch(path: Path, overrides: list[str], resume: bool, runs: Path, processes: int) -> None:
    """Check the recipe, then run the same command as several processes."""
    from enface.recipe.load import load_recipe, runs_in

    loaded = load_recipe(path, overrides)
    folder = runs / loaded.recipe.name
    before = [] if resume else runs_in(folder)
    arguments = ["run", str(path), *set_arguments(overrides), "--runs", str(runs), *(["--resume"] if resume else [])]

    def remedy() -> str:
        new = [directory for directory in runs_in(folder) if directory not in before]
        started = [loaded.directory] if resume and loaded.directory is not None else new
        if not started:
            return "nothing was trained"
        return f"the others were ended. Resume with: {_resume_command(started[-1], processes)}"

    launch_processes(processes, loaded.recipe.engine.device, arguments, remedy)


def _resume_command(directory: Path, processes: int | None = None) -> str:
    """Return the command that resumes a run, on as many processes unless another launcher started them."""
    count = processes or (int(os.environ["WORLD_SIZE"]) if is_launched() else 1)
    return f"enface run {directory} --resume" + (f" --processes {count}" if count > 1 else "")


def _inspect(loaded: LoadedRecipe) -> tuple[Mapping[str, Any], Mapping[str, str]]:
    """Build every stage; return what plugins measured of its terms, and the metrics that cannot be computed."""
    from enface.training.prepare import build_trainer, prepare_run

    prepared = prepare_run(loaded, Terminal())
    trainer = build_trainer(prepared, check=False)
    inspections = loaded.plugins.hook.inspect_stages(trainer=trainer)
    if inspections is None:
        trainer.check()
    return inspections or {}, prepared.validator.unavailable if prepared.validator is not None else {}


def _as_dict(recipe: Recipe, inspections: Mapping[str, Any], unavailable: Mapping[str, str]) -> dict[str, Any]:
    stages = {}
    for name, stage in recipe.stages.items():
        stages[name] = {
            **stage.model_dump(include={"steps", "batch", "freeze"}),
            "terms": [{"term": key, "loss": term.use} for key, term in stage.terms.items()],
            **(inspections[name].as_dict() if name in inspections else {}),
        }
    return {"name": recipe.name, "stages": stages, "unavailable_metrics": dict(unavailable)}
