"""The ``report`` command."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from enface import hookimpl
from enface.cli.options import Runs, find_run, say
from enface.errors import EnfaceError

if TYPE_CHECKING:
    from enface import Run
    from enface.system.messages import Reporter
    from enface.training.run import Run as TrainingRun
    from enface_tools.report.progress import Progress


def report(
    run: Annotated[
        Path,
        typer.Argument(
            help="A run: a directory, NAME, latest, best; or results of enface pairs.",
            show_default=False,
            callback=find_run,
        ),
    ],
    watched: Annotated[
        bool, typer.Option("--watch", help="Rewrite the report while the run trains; Ctrl-C ends it.")
    ] = False,
    runs: Runs = Path("runs"),
) -> None:
    """Write the report of a run, or of evaluated image pairs.

    With --watch the page follows a run until it ends.
    """
    from enface.recipe.files import is_run
    from enface_tools.report.progress import read_progress
    from enface_tools.report.run_page import write_report
    from enface_tools.report.watch import watch

    if not is_run(run) and not (run / "summary.json").is_file():
        raise EnfaceError(f"{run} is not a run directory (it has no recipe.yaml), and holds no evaluation")
    if not watched:
        say(f"report: {write_report(run)}")
        return
    if not is_run(run):
        raise EnfaceError(f"{run} is not a run directory; omit --watch")
    try:
        path = watch(run, written=lambda page: _say_watching(page, read_progress(run)))
    except KeyboardInterrupt:
        say("stopped watching; the report shows the run as it is now")
        raise typer.Exit(130) from None
    say(f"the run has ended. report: {path}")


def _say_watching(page: Path, progress: Progress | None) -> None:
    say(f"report: {page}; watching the run, Ctrl-C ends it")
    if progress is not None:
        say(progress.text)


@hookimpl
def commands(app: typer.Typer) -> None:
    """Add ``report``."""
    app.command("report")(report)


@hookimpl
def run_created(run: TrainingRun) -> None:
    """Write the environment and the lineage of a run, and register its claim."""
    from enface_tools.report.claims import register_claim
    from enface_tools.report.origin import write_origin

    write_origin(run)
    register_claim(run)


@hookimpl
def results_written(folder: Path, reporter: Reporter, run: Run | None) -> None:
    """Write the report of an evaluation."""
    from enface_tools.report.run_page import write_report

    reporter.say(f"report: {write_report(folder)}")
    if run is not None:
        run.log("reported")
