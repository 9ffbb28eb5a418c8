"""The ``weights`` commands."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from enface import hookimpl
from enface.cli.options import say
from enface.errors import EnfaceError


def weights_list() -> None:
    """List the pretrained weights of the installed plugins, and the files of those in the cache."""
    for item in _known_weights().values():
        path = item.find()
        typer.echo(f"{item.name}\t{f'here: {path}' if path else 'missing'}\t{item.about}")


def weights_fetch(
    names: Annotated[
        list[str] | None, typer.Argument(help="Names of weights; default: all.", show_default=False)
    ] = None,
    from_: Annotated[
        Path | None, typer.Option("--from", metavar="FILE", help="Read them from this file instead of downloading.")
    ] = None,
) -> None:
    """Fetch pretrained weights into the cache, and check their digest."""
    from enface.plugin.schema import closest

    known = _known_weights()
    for name in names or list(known):
        if name not in known:
            raise EnfaceError(f"no weights are called {name!r}{closest(name, known)}")
        say(f"{name}: {known[name].fetch(from_)}")


def _known_weights() -> dict[str, Any]:
    from enface.plugin.manager import load_plugins

    return {item.name: item for items in load_plugins().hook.weights() for item in items}


@hookimpl
def commands(app: typer.Typer) -> None:
    """Register ``weights list`` and ``weights fetch``."""
    group = typer.Typer(no_args_is_help=True, help="List and fetch pretrained weights.")
    group.command("list")(weights_list)
    group.command("fetch")(weights_fetch)
    app.add_typer(group, name="weights")
