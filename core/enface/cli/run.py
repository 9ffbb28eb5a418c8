"""Checking and training."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping
from contextlib import nullcontext, redirect_stdout
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from enface.cli.launch import Processes, launch_and_tell
from enface.cli.options import (
    Overrides,
    RecipePath,
    Runs,
    app,
    is_run,
    load,
    prepared,
    say,
)
from enface.errors import EnfaceError
from enface.system.processes import check_processes, launched, leave_words, set_words
from enface.system.signals import unwound
from enface_tools.evaluate.console import measure_and_report, say_unavailable
from enface_tools.objective.console import show_shares

if TYPE_CHECKING:
    from enface.recipe.models import Recipe
    from enface.train.run import Run
    from enface.train.trainer import Trainer
    from enface_tools.objective.shares import StageShares


@app.command()
def run(
    recipe: RecipePath,
    set_: Overrides = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the latest run of this recipe.")] = False,
    runs: Runs = Path("runs"),
    processes: Processes = 1,
) -> None:
    """Train a recipe, evaluate it and report.

    The report is on the test split, which training never saw.
    """
    if processes > 1:
        _launch(recipe, set_ or [], resume, runs, processes)
        return
    from enface.train.trainer import Interrupted

    try:
        _run(recipe, set_ or [], resume, runs)
    except Interrupted as stopped:
        words = f"stopped by {stopped}; everything is saved. Go on with: {_go_on(stopped.directory)}"
        if not leave_words(words) and stopped.is_main:
            say(words)
        raise typer.Exit(128 + stopped.number) from None


@app.command()
def check(
    recipe: RecipePath,
    set_: Overrides = None,
    data: Annotated[
        bool, typer.Option("--data", help="Pack the data too, build every stage and look at a batch.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Check a recipe, or with --data all of it.

    Keys and components are checked without data. With it, everything that training would refuse, and shown is what
    each term is of the objective on a batch.
    """
    loaded = load(recipe, set_ or [])
    found = loaded.recipe
    looked: dict[str, StageShares] = {}
    unavailable: dict[str, str] = {}
    if data:
        # What packing has to say is no part of the JSON.
        with redirect_stdout(sys.stderr) if as_json else nullcontext():
            looked, unavailable = _looked(prepared(loaded))
    if as_json:
        typer.echo(json.dumps(_checked(found, looked, unavailable), indent=2))
        return
    for name, stage in found.stages.items():
        frozen = f", frozen: {', '.join(stage.freeze)}" if stage.freeze else ""
        typer.echo(f"{name}: {stage.steps} steps of {stage.batch}, terms: {', '.join(stage.terms)}{frozen}")
        if name in looked:
            show_shares(looked[name])
    say_unavailable(unavailable)
    typer.echo(f"{found.name}: ok")


# ------------------------------------------------------------------ running


def _launch(path: Path, overrides: list[str], resume: bool, runs: Path, processes: int) -> None:
    """Check what can be checked, then run the same command as several processes."""
    from enface.recipe.load import runs_in

    recipe = load(path, overrides).recipe
    check_processes(processes, recipe.engine.device)
    folder = runs / recipe.name
    before = [] if resume else runs_in(folder)
    words = ["run", str(path), *set_words(overrides), "--runs", str(runs), *(["--resume"] if resume else [])]

    def ended() -> str:
        ours = [path] if resume and is_run(path) else [one for one in runs_in(folder) if one not in before]
        return f"the others were ended. Go on with: {_go_on(ours[-1], processes)}" if ours else "nothing was trained"

    launch_and_tell(processes, words, ended)


def _go_on(directory: Path, processes: int | None = None) -> str:
    """The command that resumes a run, on as many processes unless some other launcher started them."""
    count = processes or (int(os.environ["WORLD_SIZE"]) if launched() else 1)
    return f"enface run {directory} --resume" + (f" --processes {count}" if count > 1 else "")


def _run(path: Path, overrides: list[str], resume: bool, runs: Path) -> None:
    from enface.system.locks import LOCK
    from enface.train.checkpoint import digest
    from enface.train.run import check_same_recipe, latest_directory, new_directory, start_directory
    from enface_tools.evaluate.evaluator import Evaluator

    loaded = load(path, overrides)
    current = prepared(loaded)
    engine = current.engine
    if resume:
        current.directory = path if is_run(path) else latest_directory(runs, loaded.recipe)
        check_same_recipe(current.directory, loaded.recipe)
    # Before anything is trained, so that what would be refused at the end is refused at the start.
    trainer, evaluator = _trainer(current), Evaluator(current)
    if not resume:
        current.directory = engine.share(new_directory(runs, loaded.recipe.name) if engine.is_main else None)
    refusal = f"{current.directory}: another process is training this run; wait until it ends, or stop it"
    with engine.held(current.directory / LOCK, refusal):
        if engine.is_main:
            if not resume:
                start_directory(current)
            say(f"run: {current.directory}")
            # Before hours are spent on a network that is then not measured.
            say_unavailable(evaluator.unavailable)
        trainer.train(resume=resume)
        with current.early_end_told(), unwound():
            if engine.is_main:
                current.log("trained", digest=digest(trainer.network))
            measure_and_report(evaluator, trainer.network)
        current.notify("run_ended", completed=True)
    engine.wait()
    engine.close()


def _looked(current: Run) -> tuple[dict[str, StageShares], dict[str, str]]:
    """Each stage's terms on a batch; the metrics that cannot be had, and why."""
    from enface_tools.evaluate.evaluator import Evaluator
    from enface_tools.objective.shares import stage_shares

    stages = stage_shares(_trainer(current, check=False))
    return {stage.name: stage for stage in stages}, Evaluator(current).unavailable


def _checked(recipe: Recipe, looked: Mapping[str, StageShares], unavailable: Mapping[str, str]) -> dict[str, Any]:
    stages = {}
    for name, stage in recipe.stages.items():
        stages[name] = {
            **stage.model_dump(include={"steps", "batch", "freeze"}),
            "terms": [{"term": key, "loss": term.use} for key, term in stage.terms.items()],
            **(asdict(looked[name]) if name in looked else {}),
        }
    return {"name": recipe.name, "stages": stages, "unavailable_metrics": dict(unavailable)}


def _trainer(current: Run, *, check: bool = True) -> Trainer:
    """The trainer of a run; with ``check``, every stage is known to fit together."""
    from enface.train.trainer import Trainer
    from enface_tools.evaluate.evaluator import Evaluator

    recipe = current.recipe
    validator = Evaluator(current, "val") if len(current.rows["val"]) and recipe.metrics else None
    score: Callable[[float], float] = float
    if validator is not None and recipe.log.best is not None:
        if recipe.log.best in validator.unavailable:
            raise EnfaceError(f"log.best: {validator.unavailable[recipe.log.best]}")
        score = validator.metrics[recipe.log.best].score
    measured = tuple(validator.metrics) if validator else ()
    trainer = Trainer(current, validator.means if validator else None, score, measured)
    if check:
        trainer.check()
    return trainer
