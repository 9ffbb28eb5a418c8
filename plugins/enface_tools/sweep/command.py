"""The ``sweep`` command."""

from __future__ import annotations

import json
import shlex
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from enface import hookimpl
from enface.cli.options import Runs, say
from enface.errors import EnfaceError
from enface_tools.evaluate.splits import Split

if TYPE_CHECKING:
    from enface_tools.sweep.base import Launcher
    from enface_tools.sweep.jobs import Job


def sweep(
    file: Annotated[Path, typer.Argument(help="A sweep file.", show_default=False)],
    runs: Runs = Path("runs"),
    jobs: Annotated[
        int | None,
        typer.Option(
            "--jobs",
            min=1,
            help="Maximum number of concurrent runs (default: one per GPU of this machine; unlimited on a cluster).",
        ),
    ] = None,
    launcher: Annotated[
        str | None,
        typer.Option("--launcher", help="Launcher with default options, such as local; default: the file's."),
    ] = None,
    split: Annotated[
        Split,
        typer.Option("--split", help="People that each run is measured on: val to choose a variant by, or also test."),
    ] = "val",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list the runs and their states.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the list as JSON, and run nothing.")] = False,
) -> None:
    """Run every variant of a recipe with every seed; skip finished runs and resume interrupted ones.

    Every recipe is checked before the first run starts. Runs that another process trains are skipped. The test people
    stay unseen: enface evaluate RUN --split test opens them for the variant that was chosen.
    """
    from enface_tools.sweep.jobs import read_sweep, require_folder

    require_folder(runs)
    all_jobs, chosen = read_sweep(file, launcher, split)
    states: dict[Job, str] = {job: job.find(runs)[0] for job in all_jobs}
    pending = [job for job in all_jobs if states[job] in ("cut off", "new")]
    logs = runs / "logs" / file.stem
    if dry_run or as_json:
        states |= dict.fromkeys(_queued(chosen, pending, runs, logs), "queued")
    if as_json:
        rows = [{"name": job.name, "seed": job.seed, "state": states[job], "set": job.overrides} for job in all_jobs]
        typer.echo(json.dumps(rows, indent=1))
        return
    for job in all_jobs:
        say(f"{states[job]:8} {job.label}")
    if dry_run:
        return
    again = _same_command(file, runs, jobs, launcher, split)
    failed, detached = _launch(chosen, pending, len(all_jobs), jobs, runs, logs, again) if pending else ([], [])
    _report_end(all_jobs, failed, detached, chosen, runs, split, again)
    if failed:
        raise typer.Exit(1)


def _same_command(file: Path, runs: Path, jobs: int | None, launcher: str | None, split: Split) -> str:
    """Return the command with all options that were given, ready for a shell."""
    options = ["--runs", str(runs)] if runs != Path("runs") else []
    options += ["--jobs", str(jobs)] if jobs is not None else []
    options += ["--launcher", launcher] if launcher is not None else []
    options += ["--split", split] if split != "val" else []
    return shlex.join(["enface", "sweep", str(file), *options])


def _report_end(
    jobs: list[Job],
    failed: list[Job],
    detached: list[Job],
    launcher: Launcher,
    runs: Path,
    split: Split,
    again: str,
) -> None:
    from enface_tools.runs.locks import is_locked
    from enface_tools.sweep.progress import table_of_jobs

    states = {job: job.find(runs)[0] for job in jobs}
    for job in jobs:
        if states[job] == "running" and job not in detached:
            lock = next(filter(is_locked, job.locks(runs)), job.lock(runs))
            say(f"{job.label}: another process is training it (if no process does, remove {lock})")
    say(table_of_jobs(jobs, failed, runs, split))
    counts = Counter(states.values())
    say(f"{counts['done']} of {len(jobs)} runs are done")
    if detached:
        say(f"{len(detached)} runs continue on {_name(launcher)}")
    if detached or counts["running"]:
        say(f"check again with: {again}")
    names = list(dict.fromkeys(job.name for job in jobs))
    if len(names) > 1 and not detached and not counts["running"]:
        option = "" if split == "val" else f" --split {split}"
        say(f"compare them with: enface compare {' '.join(str(runs / name) for name in names)}{option}")


def _queued(launcher: Launcher, pending: list[Job], runs: Path, logs: Path) -> list[Job]:
    """Jobs that an earlier sweep left on a cluster, if the cluster can be reached."""
    if pending and launcher.detach:
        with suppress(EnfaceError), launcher.open(None, runs, logs) as session:
            return session.taken(pending)
    return []


def _launch(
    launcher: Launcher, pending: list[Job], total: int, at_once: int | None, runs: Path, logs: Path, again: str
) -> tuple[list[Job], list[Job]]:
    """Run jobs; return those that failed, and those that continue without this process.

    Args:
        total: Number of all jobs of the sweep.
        again: The command that resumes, for messages.
    """
    from enface.system.locks import LOCK_FILE, hold_lock
    from enface_tools.sweep.launcher import Stopped, run_all
    from enface_tools.sweep.progress import SweepProgress

    logs.mkdir(parents=True, exist_ok=True)
    refusal = f"{logs.name}: another sweep of this name is running under {runs}; wait until it ends, or stop it"
    try:
        with hold_lock(logs / LOCK_FILE, refusal), launcher.open(at_once, runs, logs) as session:
            taken = session.taken(pending)
            for job in taken:
                say(f"{job.label}: still on {_name(launcher)}")
            new = [job for job in pending if job not in taken]
            with SweepProgress(runs, total - len(pending), total) as progress:
                failed = run_all(session, new, runs, progress.say, progress.update)
            return failed, [*taken, *new] if session.detached else taken
    except Stopped:
        say(f"stopped; resume with: {again}")
        raise typer.Exit(130) from None


def _name(launcher: Launcher) -> str:
    from enface.plugin.catalog import snake_case

    return snake_case(type(launcher).__name__)


@hookimpl
def kinds() -> dict[str, type]:
    """Add the kind ``launcher``."""
    from enface_tools.sweep.base import Launcher

    return {"launcher": Launcher}


@hookimpl
def components() -> list[type]:
    """Return the launchers."""
    from enface_tools.sweep.local import Local
    from enface_tools.sweep.ray import Ray
    from enface_tools.sweep.slurm import Slurm

    return [Local, Ray, Slurm]


@hookimpl
def commands(app: typer.Typer) -> None:
    """Register ``sweep``."""
    app.command("sweep")(sweep)
