"""Options and terminal output that commands share."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from enface.errors import EnfaceError
from enface.system.messages import Progress

QUIET_SECONDS = 10.0


def _go_offline(value: bool) -> bool:
    # Read by everything that downloads, here and in processes that this one starts.
    if value:
        os.environ["ENFACE_OFFLINE"] = "1"
    return value


def find_run(context: typer.Context, param: typer.CallbackParam, value: Path) -> Path:
    """Return the directory of a run by its name: the callback of an argument; ``recipe`` may also be a recipe."""
    from enface.plugin.manager import load_plugins

    runs = context.params.get("runs", Path("runs"))
    return load_plugins().hook.find_run(path=value, runs=runs, recipe=param.name == "recipe") or value


def _complete(ctx: typer.Context, incomplete: str) -> list[str]:
    from enface.plugin.manager import load_plugins

    recipe = any(param.name == "recipe" for param in ctx.command.params)
    return sorted(set().union(*load_plugins().hook.complete_name(text=incomplete, recipe=recipe)))


_found: dict[str, Any] = {"show_default": False, "callback": find_run, "autocompletion": _complete}
RecipePath = Annotated[Path, typer.Argument(help="A recipe (file or name), or a run.", **_found)]
RunPath = Annotated[Path, typer.Argument(help="A run: a directory, NAME, latest, best.", **_found)]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override a key, as stages.main.steps=100; repeatable."),
]
# Eager, so that names of runs are looked up in it.
Runs = Annotated[Path, typer.Option("--runs", help="Folder of run directories.", is_eager=True)]
Processes = Annotated[
    int, typer.Option("--processes", min=1, help="Number of processes that share the work, each on its own GPU.")
]
Offline = Annotated[
    bool, typer.Option("--offline", help="Download nothing, as with ENFACE_OFFLINE=1.", callback=_go_offline)
]
Device = StrEnum("Device", ["auto", "cpu", "cuda"])


class Terminal:
    """Reports to standard output: messages as lines, progress as a bar (not a terminal: a line every 10 s)."""

    silent = False

    def say(self, text: str) -> None:
        """Print a line, with its colours."""
        typer.echo(text, color=True)

    def progress(self, title: str) -> AbstractContextManager[Progress]:
        """Show a bar from the first report on."""
        return progress_bar(title)


def launch_processes(processes: int, device: str, arguments: Sequence[str], remedy: Callable[[], str]) -> None:
    """Run ``enface ARGUMENTS`` as several processes, through the hook ``launch``, which has the same arguments."""
    from enface.plugin.manager import load_plugins

    hook = load_plugins().hook.launch
    if not hook(processes=processes, device=device, arguments=arguments, remedy=remedy):
        raise EnfaceError("--processes: no installed plugin starts several processes; install enface again")


@contextmanager
def progress_bar(title: str) -> Iterator[Progress]:
    """A bar on a terminal, which appears with the first report; elsewhere a line every 10 seconds."""
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress

    console = Console()
    bar = Progress(*Progress.get_default_columns(), MofNCompleteColumn(), console=console, transient=True)
    task = bar.add_task(title, total=None)
    last = time.monotonic()

    def report(done: int, total: int) -> None:
        nonlocal last
        if console.is_terminal:
            bar.start()
            bar.update(task, completed=done, total=total)
        elif time.monotonic() - last > QUIET_SECONDS:
            last = time.monotonic()
            say(f"{title}: {done} of {total}")

    try:
        yield report
    finally:
        if bar.live.is_started:
            bar.stop()


def say(text: str) -> None:
    """Print a line."""
    typer.echo(text)
