"""The command line. Commands import torch themselves, so that help does not wait for it."""

from __future__ import annotations

import os
import sys
import traceback
import warnings
from collections import Counter
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from enface.cli import run as commands
from enface.errors import EnfaceError, PluginError, is_disk_full
from enface.system.processes import is_launched, report_to_launcher

NO_TOOLS = "No tools are installed (evaluate, report, compare, ...). Install enface again: pip install enface"


def main() -> None:
    """Run the command line. A user's mistake ends with one message and exit code 2, never with a traceback."""
    try:
        _run()
    except SystemExit as stop:
        if is_launched() and stop.code:
            # Interpreters that leave a process group one after another may abort, which would hide the exit code.
            os._exit(stop.code if isinstance(stop.code, int) else 1)
        raise


def _run() -> None:
    # Warnings are of the user's data; the line of code that found them is of no use.
    warnings.formatwarning = lambda message, *_: f"warning: {message}\n"
    try:
        application()()
    except EnfaceError as error:
        _refuse(str(error))
    except Exception as error:
        if is_disk_full(error):
            where = f" ({error.filename})" if error.filename else ""
            _refuse(f"the disk is full{where}: {error.strerror}. Free some space; what is saved stays, and runs resume")
        # If one of several processes fails, the others fail too: the launcher shows the first error.
        if not is_launched():
            raise
        report_to_launcher(traceback.format_exc())
        sys.exit(1)


class _Commands(TyperGroup):
    """Lists ``run`` first, then the commands of plugins by name."""

    def list_commands(self, ctx: Any) -> list[str]:
        return sorted(super().list_commands(ctx), key=lambda name: (name != "run", name))


def application() -> typer.Typer:
    """Return the command line with the commands of all installed plugins.

    Raises PluginError if a plugin cannot be loaded, or two bring a command of one name.
    """
    from enface.plugin.manager import load_plugins

    app = typer.Typer(
        cls=_Commands,
        name="enface",
        help="A loss laboratory for paired image translation: write a recipe, train it, read what each idea bought.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        # Plain help is twice as fast as help drawn by rich.
        rich_markup_mode=None,
    )
    app.command("run")(commands.run)
    app.callback(invoke_without_command=True)(_version)
    load_plugins().hook.commands(app=app)
    names = [command.name for command in app.registered_commands] + [group.name for group in app.registered_groups]
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        raise PluginError(f"two installed plugins bring the command {repeated[0]!r}; uninstall one of them")
    if len(names) == 1:
        app.info.epilog = NO_TOOLS
    return app


def _refuse(message: str) -> NoReturn:
    # A launcher of several processes shows the message once.
    if not report_to_launcher(message):
        typer.secho(f"error: {message}", err=True, fg=typer.colors.RED)
    sys.exit(2)


def _version(
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    if version:
        import enface

        typer.echo(f"enface {enface.__version__}")
        raise typer.Exit
