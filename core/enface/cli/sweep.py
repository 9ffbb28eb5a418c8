"""The ``sweep`` command."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from enface.cli.shared import Runs, app, say


@app.command()
def sweep(
    file: Annotated[Path, typer.Argument(help="A sweep's file.", show_default=False)],
    runs: Runs = Path("runs"),
    jobs: Annotated[int, typer.Option("--jobs", min=1, help="Runs at a time; one for each CUDA device, say.")] = 1,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what there is to do.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="With --dry-run: as JSON.")] = False,
) -> None:
    """Run every variant of a recipe with every seed; what is done is skipped, what was cut off goes on.

    Every run is checked before the first one starts.
    """
    from enface.sweep import Local, Stopped, cuda_devices, read_sweep, require_folder

    require_folder(runs)
    asked = read_sweep(file)
    states = {job: job.find(runs)[0] for job in asked}
    if as_json:
        told = [{"name": job.name, "seed": job.seed, "state": states[job], "set": job.overrides} for job in asked]
        typer.echo(json.dumps(told, indent=1))
        return
    for job in asked:
        say(f"{states[job]:8} {job.label}")
    todo = [job for job in asked if states[job] != "done"]
    if dry_run:
        return
    try:
        failed = Local(jobs, runs / "logs" / file.stem, cuda_devices(), say)(todo, runs)
    except Stopped:
        say(f"stopped; go on with: enface sweep {file}")
        raise typer.Exit(130) from None
    names = list(dict.fromkeys(job.name for job in asked))
    say(f"{len(asked) - len(failed)} of {len(asked)} runs are done")
    if len(names) > 1:
        say(f"compare them with: enface compare {' '.join(str(runs / name) for name in names)}")
    if failed:
        raise typer.Exit(1)
