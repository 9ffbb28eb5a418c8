"""The ``import`` commands, which translate options of other programs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from enface import hookimpl
from enface.cli.options import say

if TYPE_CHECKING:
    from enface_tools.importing.importer import Imported

Out = Annotated[
    Path | None, typer.Option("--out", metavar="FILE", help="The recipe to write (default: NAME.yaml, here).")
]
Data = Annotated[
    Path | None, typer.Option("--data", metavar="FOLDER", help="The data, if it is not where the file says.")
]
Images = Annotated[
    int | None, typer.Option("--images", min=1, help="Number of training pairs, if the data is not on this machine.")
]
Force = Annotated[bool, typer.Option("--force", help="Overwrite an existing recipe.")]
INDENT = 6

importing = typer.Typer(no_args_is_help=True, help="Translate options of pix2pix, BasicSR or joliGEN into a recipe.")


@importing.command("pix2pix")
def pix2pix_command(
    file: Annotated[Path, typer.Argument(help="train_opt.txt of a training.", show_default=False)],
    out: Out = None,
    data: Data = None,
    images: Images = None,
    force: Force = False,
) -> None:
    """Translate options of pix2pix (pytorch-CycleGAN-and-pix2pix), and list what was taken, changed and left out."""
    _import("pix2pix", file, out, data, images, force)


@importing.command("basicsr")
def basicsr_command(
    file: Annotated[Path, typer.Argument(help="YAML file of a training.", show_default=False)],
    out: Out = None,
    data: Data = None,
    images: Images = None,
    force: Force = False,
) -> None:
    """Translate options of BasicSR or NAFNet, and list what was taken, changed and left out."""
    _import("basicsr", file, out, data, images, force)


@importing.command("joligen")
def joligen_command(
    file: Annotated[Path, typer.Argument(help="JSON file of a training.", show_default=False)],
    out: Out = None,
    data: Data = None,
    images: Images = None,
    force: Force = False,
) -> None:
    """Translate options of joliGEN, and list what was taken, changed and left out."""
    _import("joligen", file, out, data, images, force)


def _import(program: str, file: Path, out: Path | None, data: Path | None, images: int | None, force: bool) -> None:
    from enface_tools.importing.importer import import_options

    _show(import_options(program, file, out=out, data=data, images=images, force=force))


def _show(result: Imported) -> None:
    """Print a line per option, the files and the next command."""
    for title in ("taken", "changed", "not supported"):
        entries = [entry for entry in result.entries if entry.outcome == title]
        if not entries:
            continue
        say(f"{title} ({len(entries)}):")
        for entry in entries:
            place = f" -> {entry.key}" if entry.key else ""
            say(f"  {entry.option}: {entry.value}{place}")
            if entry.reason:
                _wrapped(entry.reason)
    without = [entry.option for entry in result.entries if entry.outcome == "no effect"]
    if without:
        say(f"no effect on the training ({len(without)}):")
        _wrapped(", ".join(without), 2)
    for warning in result.warnings:
        say(f"warning: {warning}")
    say(f"recipe: {result.recipe}")
    say(f"next: enface {'check' if result.warnings else 'run'} {result.recipe}")


def _wrapped(text: str, indent: int = INDENT) -> None:
    import textwrap

    space = " " * indent
    say(textwrap.fill(text, 80, initial_indent=space, subsequent_indent=space, break_long_words=False))


@hookimpl
def commands(app: typer.Typer) -> None:
    """Register ``import``."""
    app.add_typer(importing, name="import")
