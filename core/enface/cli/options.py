"""What the commands share: options, opening recipes and runs, progress."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from enface.errors import DataError, EnfaceError
from enface.system.signals import unwound

if TYPE_CHECKING:
    from enface.data.pack import Pack
    from enface.recipe.load import LoadedRecipe
    from enface.train.engine import Engine
    from enface.train.run import Run

app = typer.Typer(
    name="enface",
    help="A loss laboratory for paired image translation: write a recipe, train it, read what each idea bought.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    # Plain help answers twice as fast as help drawn by rich.
    rich_markup_mode=None,
)

QUIET_SECONDS = 10.0
RecipePath = Annotated[Path, typer.Argument(help="A recipe file, or a run directory.", show_default=False)]
RunPath = Annotated[Path, typer.Argument(help="A run directory (runs/NAME/ID).", show_default=False)]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override a key, as stages.main.steps=100; repeatable."),
]
Runs = Annotated[Path, typer.Option("--runs", help="Where run directories go.")]


class Device(StrEnum):
    """Where networks run."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"


def prepared(loaded: LoadedRecipe) -> Run:
    """A run of a recipe whose data is packed and split; it has no directory yet."""
    from enface.data.pairs import split_rows
    from enface.train.run import Run

    engine = _engine(loaded)
    with engine.main_first():
        pack = packed(loaded, show=engine.is_main)
    known = (pack.about["digest"], len(pack.table))
    if engine.share(known) != known:
        raise DataError(f"process {engine.rank} has another pack than the main one ({pack.folder}); start again")
    return Run(Path(), loaded, engine, pack, split_rows(pack.table, loaded.recipe.data.split))


def is_run(directory: Path) -> bool:
    """Whether a folder is a run directory."""
    return (directory / "recipe.yaml").is_file()


def require_run(directory: Path) -> None:
    """Raises EnfaceError when a folder is no run directory."""
    if not is_run(directory):
        raise EnfaceError(f"{directory} is not a run directory (it has no recipe.yaml)")


def load(path: Path, overrides: list[str]) -> LoadedRecipe:
    """A recipe, or the recipe of a run directory, read and checked."""
    from enface.recipe.load import load_recipe

    return load_recipe(path / "recipe.yaml" if is_run(path) else path, overrides)


def _engine(loaded: LoadedRecipe) -> Engine:
    from enface.train.engine import Engine

    return Engine(loaded.recipe.engine)


def packed(loaded: LoadedRecipe, *, show: bool = True) -> Pack:
    """The recipe's pack, fetched or made now where there is none."""
    from enface_tools.packs.remote import pack_of

    data = loaded.recipe.data
    what = "fetching the pack, MiB" if data.pack else f"packing {data.use}"
    with progress_bar(what, show=show) as progress, unwound():
        pack = pack_of(loaded.recipe, loaded.catalog, progress, say if show else None)
    if show:
        say_skipped(pack)
    return pack


def say_skipped(pack: Pack) -> None:
    """Say how many images a pack lacks, if any."""
    if pack.about["skipped"]:
        say(f"{len(pack.about['skipped'])} unreadable images left out; they are named in {pack.folder}/pack.json")


@contextmanager
def progress_bar(what: str, *, show: bool = True) -> Iterator[Callable[[int, int], None]]:
    """A bar on a terminal, which appears with the first report; elsewhere a line now and then."""
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress

    console = Console()
    bar = Progress(*Progress.get_default_columns(), MofNCompleteColumn(), console=console, transient=True)
    task = bar.add_task(what, total=None)
    last = time.monotonic()

    def report(done: int, total: int) -> None:
        nonlocal last
        if console.is_terminal:
            bar.start()
            bar.update(task, completed=done, total=total)
        elif time.monotonic() - last > QUIET_SECONDS:
            last = time.monotonic()
            say(f"{what}: {done} of {total}")

    try:
        yield report if show else lambda done, total: None
    finally:
        if bar.live.is_started:
            bar.stop()


def say(text: str) -> None:
    """Print a line."""
    typer.echo(text)
