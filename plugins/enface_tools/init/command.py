"""The ``init`` command, which writes a first recipe for a folder of pairs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from enface import hookimpl
from enface.cli.options import say
from enface_tools.init.tasks import Task

if TYPE_CHECKING:
    from enface_tools.init.init import Started

LAYOUTS = {
    "folders": "sources and targets in two folders, matched by name",
    "side_by_side": "source and target side by side in one image",
    "labelled": "labels in file names",
    "multipie": "file names of Multi-PIE",
}


def init(
    folder: Annotated[Path, typer.Argument(help="A folder of image pairs.", show_default=False)],
    task: Annotated[
        Task | None,
        typer.Option("--task", help="The task (default: the one that the layout suggests).", show_default=False),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="The recipe to write (default: FOLDERNAME.yaml, here).")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite an existing recipe and picture.")] = False,
) -> None:
    """Write a first recipe for a folder of pairs, and a picture of six of them.

    Recognises two folders (source/ and target/, A/ and B/, trainA/ and trainB/, ...), images side by side, labels in
    file names, and Multi-PIE; each may be divided by folders train/, val/ and test/.
    """
    from enface_tools.init.init import start

    _show(start(folder, task=task, out=out, force=force))


def _show(started: Started) -> None:
    """Print what was recognised, the files, and the next command."""
    from enface_tools.init.survey import describe_sizes, people

    facts, layout = started.facts, started.facts.layout
    things = "images" if layout.kind in ("labelled", "multipie") else "pairs"
    say(f"{layout.root}: {LAYOUTS[layout.kind]}")
    if layout.kind == "folders":
        say(f"  folders   source: {layout.source}, target: {layout.target}")
    say(f"  data      {layout.pairs} {things} of {people(facts.people)}{_people_from(started)}")
    for role, sizes in facts.sizes.items():
        name = role if len(facts.sizes) > 1 else "images"
        say(f"  {name:8}  {describe_sizes(sizes)} px, {', '.join(facts.kinds[role])}")
    if started.counts is not None:
        counts = started.counts
        say(f"  split     {'that of the folders' if layout.splits else 'by person'}")
        for name, pairs in counts.pairs.items():
            say(f"  {name:8}  {pairs} {'pair' if pairs == 1 else 'pairs'} of {people(counts.people[name])}")
    reason = f" ({started.reason}; --task changes it)" if started.reason else ""
    say(f"  task      {started.task}{reason}")
    for warning in started.warnings:
        say(f"warning: {warning}")
    say(f"recipe: {started.recipe}")
    if started.counts is not None:
        say(f"pairs: {started.picture}")
        say(f"next: look at the pairs, then enface run {started.recipe}")
    else:
        say(f"next: fix the last warning, then enface check {started.recipe} --data")


def _people_from(started: Started) -> str:
    layout = started.facts.layout
    if layout.kind in ("labelled", "multipie"):
        return ", by their names"
    if layout.identity:
        return f", by the pattern {layout.identity}"
    return ": each pair counts as one"


@hookimpl
def commands(app: typer.Typer) -> None:
    """Register ``init``."""
    app.command("init")(init)
