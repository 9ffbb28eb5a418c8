"""A new plugin package."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from enface import hookimpl
from enface.cli.options import say


def new(
    kind: Annotated[
        str,
        typer.Argument(
            help="What it makes: loss, mask, discriminator, augmentation, schedule, generator, dataset or metric.",
            show_default=False,
        ),
    ],
    name: Annotated[str, typer.Argument(help="Of the component, as soft_edges or SoftEdges.", show_default=False)],
    dir_: Annotated[
        Path | None, typer.Option("--dir", metavar="DIR", help="Where its files go; ./enface-NAME unless given.")
    ] = None,
) -> None:
    """Write a plugin package: a component that works, its test, and a recipe that trains it.

    The component is there to be changed into your own. Nothing that is there is overwritten.
    """
    from enface.plugin.catalog import Catalog
    from enface.plugin.manager import load_plugins
    from enface_tools.scaffold.files import name_component, new_files, write_files

    names = name_component(kind, name, Catalog(load_plugins()))
    folder = dir_ or Path(names.distribution)
    write_files(new_files(names), folder)
    say(f"written: {folder} with the {kind} {names.name!r} in src/{names.module}/{names.name}.py")
    say(f"next, in {folder}:")
    for command in ('pip install -e ".[test]"', "pytest", "enface run recipe.yaml"):
        say(f"  {command}")


@hookimpl
def commands(app: typer.Typer) -> None:
    """Add ``new``."""
    app.command("new")(new)
