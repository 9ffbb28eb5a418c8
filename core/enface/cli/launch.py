"""Running one command as several processes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated

import typer

from enface.cli.options import say
from enface.system.processes import ProcessDied, StoppedBySignal, launch

Processes = Annotated[
    int, typer.Option("--processes", min=1, help="Number of processes that share the work, each on its own GPU.")
]


def launch_processes(processes: int, arguments: Sequence[str], remedy: Callable[[], str]) -> None:
    """Run ``enface ARGUMENTS`` as several processes until they end.

    Args:
        remedy: Returns advice for the user; called if a process died.

    Raises:
        EnfaceError: with the message of a process that refused a user's mistake.
        typer.Exit: with 128 + the signal's number after a signal; with 1 after a process died, once it is reported.
    """
    try:
        launch(processes, arguments)
    except StoppedBySignal as stopped:
        say(str(stopped))
        raise typer.Exit(128 + stopped.number) from None
    except ProcessDied as error:
        typer.echo(error.traceback, err=True, nl=False)
        typer.secho(f"error: {error}; {remedy()}", err=True, fg=typer.colors.RED)
        raise typer.Exit(1) from None
