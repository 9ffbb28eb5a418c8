"""One command as several processes, and what is said when they end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated

import typer

from enface.cli.options import say
from enface.system.processes import ProcessDied, Stopped, launch

Processes = Annotated[
    int, typer.Option("--processes", min=1, help="How many processes share the work, each on a GPU of its own.")
]


def launch_and_tell(processes: int, words: Sequence[str], ended: Callable[[], str]) -> None:
    """Run ``enface WORDS`` as so many processes to their end.

    Args:
        ended: What is to be known where one of them died; asked only then.

    Raises:
        EnfaceError: with what a process said of a user's mistake.
        typer.Exit: 128 + the signal's number where one came, 1 where a process died; it was told why.
    """
    try:
        launch(processes, words)
    except Stopped as stopped:
        say(str(stopped))
        raise typer.Exit(128 + stopped.number) from None
    except ProcessDied as error:
        typer.echo(error.traceback, err=True, nl=False)
        typer.secho(f"error: {error}; {ended()}", err=True, fg=typer.colors.RED)
        raise typer.Exit(1) from None
