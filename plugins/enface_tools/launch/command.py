"""Starts the processes of ``--processes``; BatchNorm over all of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import typer

from enface import hookimpl
from enface.cli.options import say

if TYPE_CHECKING:
    import torch
    from torch import nn


@hookimpl
def synchronize_batchnorm(module: nn.Module, device: torch.device, twice: bool) -> nn.Module:
    """Replace every BatchNorm by one that spans processes."""
    from enface_tools.launch.sync_batchnorm import synchronized

    return synchronized(module, device, twice=twice)


@hookimpl
def launch(processes: int, device: str, arguments: Sequence[str], remedy: Callable[[], str]) -> bool:
    """Run them, and print the message of one if they did not end well.

    Raises:
        EnfaceError: with the message of a process that refused a user's mistake.
        typer.Exit: with 128 + the signal's number after a signal; with 1 after a process died, once it is reported.
    """
    from enface_tools.launch.processes import ProcessDied, StoppedBySignal, check_processes, run_processes

    check_processes(processes, device)
    try:
        run_processes(processes, arguments)
    except StoppedBySignal as stopped:
        say(str(stopped))
        raise typer.Exit(128 + stopped.number) from None
    except ProcessDied as error:
        typer.echo(error.traceback, err=True, nl=False)
        typer.secho(f"error: {error}; {remedy()}", err=True, fg=typer.colors.RED)
        raise typer.Exit(1) from None
    return True
