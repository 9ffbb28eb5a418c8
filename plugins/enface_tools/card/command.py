"""The ``card`` and ``push`` commands."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from enface import hookimpl
from enface.cli.options import RunPath, Runs, say
from enface.errors import EnfaceError


def card(
    run: RunPath,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="The file to write; default: RUN/card.md.")
    ] = None,
    runs: Runs = Path("runs"),
) -> None:
    """Write the model card of a run.

    It states figures with intervals and baselines, data, training, limits and provenance. Edit it before you share it:
    the licence and the uses are yours to decide.
    """
    from enface_tools.card.card import write_card

    say(f"card: {write_card(run, out or run / 'card.md')}")


def push(
    run: RunPath,
    repo: Annotated[
        str | None, typer.Option("--repo", metavar="OWNER/NAME", help="Repository on the hub to upload to.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Write the files here; without --repo, upload nothing.")
    ] = None,
    public: Annotated[bool, typer.Option("--public", help="Make a new repository public; default: private.")] = False,
    pictures: Annotated[
        bool, typer.Option("--pictures/--no-pictures", help="Include pictures of people of the evaluation.")
    ] = True,
    runs: Runs = Path("runs"),
) -> None:
    """Write a trained network in the layout of the Hugging Face hub, and upload it.

    The files are model.safetensors (the evaluated weights, without optimizers and names of people), config.json,
    recipe.yaml, README.md (the card) and a picture of samples. Nothing is uploaded without --repo.
    """
    from tempfile import TemporaryDirectory

    from enface_tools.card.hub import require_hub, upload, write_layout

    if repo is None and out is None:
        raise EnfaceError("name a folder with --out, or a repository with --repo OWNER/NAME")
    if repo is not None:
        require_hub(repo)
    with TemporaryDirectory(prefix="enface-push-") as scratch:
        layout = write_layout(run, out or Path(scratch), repo=repo, pictures=pictures)
        for note in layout.notes:
            say(note)
        if out is not None:
            say(f"{', '.join(layout.files)} written to {out}")
        if repo is not None:
            say(f"uploaded: {upload(layout, repo, private=not public)}")


@hookimpl
def commands(app: typer.Typer) -> None:
    """Register ``card`` and ``push``."""
    app.command("card")(card)
    app.command("push")(push)
