"""The ``weights`` commands."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from enface import hookimpl
from enface.cli.options import Terminal, say
from enface.errors import EnfaceError
from enface.system.messages import Reporter
from enface.system.signals import raise_on_signals

if TYPE_CHECKING:
    from enface.recipe.load import LoadedRecipe


def weights_list() -> None:
    """List the pretrained weights of the installed plugins, and the files of those in the cache."""
    from enface_tools.weights.fetching import known_weights

    for item in known_weights().values():
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
    from enface_plugins.pretrained.weights import downloads_folder
    from enface_tools.weights.fetching import known_weights

    known = known_weights()
    for name in names or list(known):
        if name not in known:
            raise EnfaceError(f"no weights are called {name!r}{closest(name, known)}")
    terminal = Terminal()
    with raise_on_signals(), downloads_folder() as downloads:
        for name in names or list(known):
            with terminal.progress(f"{name}, MiB") as progress:
                path = known[name].fetch(from_, progress=progress, downloads=downloads)
            say(f"{name}: {path}")


@hookimpl
def commands(app: typer.Typer) -> None:
    """Register ``weights list`` and ``weights fetch``."""
    group = typer.Typer(no_args_is_help=True, help="List and fetch pretrained weights.")
    group.command("list")(weights_list)
    group.command("fetch")(weights_fetch)
    app.add_typer(group, name="weights")


@hookimpl
def fetch_requirements(loaded: LoadedRecipe, kinds: Collection[str] | None, reporter: Reporter) -> None:
    """Fetch the pretrained weights that a recipe's components need."""
    from enface_tools.weights.fetching import fetch_needed

    fetch_needed(loaded, kinds, reporter)
