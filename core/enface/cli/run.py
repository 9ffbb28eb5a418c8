"""The command of the core: ``run``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from enface.cli.options import Offline, Overrides, Processes, RecipePath, Runs, Terminal, launch_processes, say
from enface.system.processes import is_launched, report_to_launcher, set_arguments


def run(
    recipe: RecipePath,
    set_: Overrides = None,
    resume: Annotated[bool, typer.Option("--resume", help="Resume the latest run of this recipe.")] = False,
    runs: Runs = Path("runs"),
    processes: Processes = 1,
    _offline: Offline = False,
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


def _launch(path: Path, overrides: list[str], resume: bool, runs: Path, processes: int) -> None:
    """Check the recipe, then run the same command as several processes."""
    from enface.recipe.files import runs_in
    from enface.recipe.load import load_recipe

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
