"""The ``sweep`` command."""

from __future__ import annotations

import json
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from enface import hookimpl
from enface.cli.options import Runs, say
from enface.errors import EnfaceError

if TYPE_CHECKING:
    from enface_tools.sweep.base import Launcher
    from enface_tools.sweep.jobs import Job


def sweep(
    file: Annotated[Path, typer.Argument(help="A sweep's file.", show_default=False)],
    runs: Runs = Path("runs"),
    jobs: Annotated[
        int | None,
        typer.Option(
            "--jobs", min=1, help="Runs at a time; unless given, one a GPU of this machine (else 1), all on a cluster."
        ),
    ] = None,
    launcher: Annotated[
        str | None,
        typer.Option("--launcher", help="local, ray or slurm, with their defaults; what the file says unless given."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what there is to do.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="With --dry-run: as JSON.")] = False,
) -> None:
    """Run every variant of a recipe with every seed; what is done is skipped, what was cut off goes on.

    Every run is checked before the first one starts. What another process is training is left to it.
    """
    from enface_tools.sweep.jobs import read_sweep, require_folder

    require_folder(runs)
    asked, model = read_sweep(file, launcher)
    states: dict[Job, str] = {job: job.find(runs)[0] for job in asked}
    todo = [job for job in asked if states[job] in ("cut off", "new")]
    logs = runs / "logs" / file.stem
    if dry_run or as_json:
        states |= dict.fromkeys(_queued(model, todo, runs, logs), "queued")
    if as_json:
        told = [{"name": job.name, "seed": job.seed, "state": states[job], "set": job.overrides} for job in asked]
        typer.echo(json.dumps(told, indent=1))
        return
    for job in asked:
        say(f"{states[job]:8} {job.label}")
    if dry_run:
        return
    failed, left = _launched(model, todo, jobs, runs, logs, file) if todo else ([], [])
    _tell_end(asked, left, model, runs, file)
    if failed:
        raise typer.Exit(1)


def _tell_end(asked: list[Job], left: list[Job], model: Launcher, runs: Path, file: Path) -> None:
    from enface.system.locks import is_locked

    states = {job: job.find(runs)[0] for job in asked}
    for job in asked:
        if states[job] == "running" and job not in left:
            lock = next(filter(is_locked, job.locks(runs)), job.lock(runs))
            say(f"{job.label}: another process is training it (if no process does, remove {lock})")
    counts = Counter(states.values())
    say(f"{counts['done']} of {len(asked)} runs are done")
    if left:
        say(f"{len(left)} are left to {_name(model)}")
    if left or counts["running"]:
        say(f"ask again with: enface sweep {file}")
    names = list(dict.fromkeys(job.name for job in asked))
    if len(names) > 1 and not left and not counts["running"]:
        say(f"compare them with: enface compare {' '.join(str(runs / name) for name in names)}")


def _queued(model: Launcher, todo: list[Job], runs: Path, logs: Path) -> list[Job]:
    """Jobs that an earlier sweep left to a cluster, as far as that is here to be asked."""
    if todo and model.detach:
        with suppress(EnfaceError), model.open(None, runs, logs) as session:
            return session.taken(todo)
    return []


def _launched(
    model: Launcher, todo: list[Job], at_once: int | None, runs: Path, logs: Path, file: Path
) -> tuple[list[Job], list[Job]]:
    """Run jobs: those that failed, and those that go on without us."""
    from enface.system.locks import LOCK_FILE, hold_lock
    from enface_tools.sweep.launcher import Stopped, run_all

    logs.mkdir(parents=True, exist_ok=True)
    refusal = f"{file}: a sweep of this name is at work under {runs}; wait until it ends, or stop it"
    try:
        with hold_lock(logs / LOCK_FILE, refusal), model.open(at_once, runs, logs) as session:
            taken = session.taken(todo)
            for job in taken:
                say(f"{job.label}: still with {_name(model)}")
            new = [job for job in todo if job not in taken]
            failed = run_all(session, new, runs, say)
            return failed, [*taken, *new] if session.detached else taken
    except Stopped:
        say(f"stopped; go on with: enface sweep {file}")
        raise typer.Exit(130) from None


def _name(launcher: Launcher) -> str:
    from enface.plugin.catalog import snake_case

    return snake_case(type(launcher).__name__)


@hookimpl
def kinds() -> dict[str, type]:
    """Bring the kind ``launcher``."""
    from enface_tools.sweep.base import Launcher

    return {"launcher": Launcher}


@hookimpl
def components() -> list[type]:
    """Bring the launchers."""
    from enface_tools.sweep.local import Local
    from enface_tools.sweep.ray import Ray
    from enface_tools.sweep.slurm import Slurm

    return [Local, Ray, Slurm]


@hookimpl
def commands(app: typer.Typer) -> None:
    """Add ``sweep``."""
    app.command("sweep")(sweep)
