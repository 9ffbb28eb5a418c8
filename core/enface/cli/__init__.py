"""The command line. Torch is imported inside commands only, so that help answers at once."""

from __future__ import annotations

import sys
import traceback
from typing import Annotated, NoReturn

import typer

# Each module puts its commands on the app, in the order of the help.
# isort: off
from enface.cli import run as train  # noqa: F401
from enface_tools.sweep import command as sweep  # noqa: F401
from enface_tools.evaluate import command as evaluate  # noqa: F401
from enface_tools.compare import command as compare  # noqa: F401
from enface_tools.report import command as report  # noqa: F401
from enface_tools.inference import command as use  # noqa: F401
from enface_tools.conformance import command as contract  # noqa: F401
from enface_tools.scaffold import command as new  # noqa: F401
from enface_tools.catalog import command as catalog  # noqa: F401
from enface_tools.packs import command as data  # noqa: F401
from enface_tools.audit import command as audit  # noqa: F401
from enface_tools.masks import command as masks  # noqa: F401
from enface_tools.masks import draw_command as masks_draw  # noqa: F401
from enface_tools.weights import command as weights  # noqa: F401

# isort: on
from enface.cli.options import app
from enface.errors import EnfaceError, is_disk_full
from enface.system.processes import launched, leave_words


def main() -> None:
    """Run the command line; a user's mistake is one message and exit code 2, never a traceback."""
    try:
        app()
    except EnfaceError as error:
        _refuse(str(error))
    except Exception as error:
        if is_disk_full(error):
            where = f" ({error.filename})" if error.filename else ""
            _refuse(f"the disk is full{where}: {error.strerror}. Make room; what is saved stays, and a run goes on")
        # Of several processes all but one may fail because that one did: the launcher shows what came first.
        if not launched():
            raise
        leave_words(traceback.format_exc())
        sys.exit(1)


def _refuse(message: str) -> NoReturn:
    # One of several processes leaves it to the launcher, which says it once.
    if not leave_words(message):
        typer.secho(f"error: {message}", err=True, fg=typer.colors.RED)
    sys.exit(2)


@app.callback(invoke_without_command=True)
def _version(
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    if version:
        import enface

        typer.echo(f"enface {enface.__version__}")
        raise typer.Exit
