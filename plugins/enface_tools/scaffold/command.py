"""The ``new`` command, which writes a plugin package."""

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
            help=(
                "Kind of the component: loss, mask, discriminator, augmentation, schedule, generator, dataset, metric, "
                "optimizer or launcher."
            ),
            show_default=False,
        ),
    ],
    name: Annotated[
        str, typer.Argument(help="Name of the component, such as soft_edges or SoftEdges.", show_default=False)
    ],
    dir_: Annotated[
        Path | None, typer.Option("--dir", metavar="DIR", help="Folder of its files; default: ./enface-NAME.")
    ] = None,
) -> None:
    """Write a plugin package: a working component, its tests, and an example that uses it.

    Replace the component by your own. Existing files are never overwritten.
    """
    from enface.plugin.catalog import Catalog
    from enface.plugin.manager import load_plugins
    from enface_tools.scaffold.files import choose_names, render_package, write_files

    names = choose_names(kind, name, Catalog(load_plugins()))
    folder = dir_ or Path(names.distribution)
    write_files(render_package(names), folder)
    say(f"written: {folder} with the {kind} {names.name!r} in src/{names.module}/{names.name}.py")
    say(f"next, in {folder}:")
    for command in ('pip install -e ".[test]"', "pytest", names.example_command):
        say(f"  {command}")


@hookimpl
def commands(app: typer.Typer) -> None:
    """Register ``new``."""
    app.command("new")(new)
