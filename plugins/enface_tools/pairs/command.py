"""Measuring images that some other system made: what ``enface evaluate --pairs`` does."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from enface.cli.options import Device, progress_bar, say
from enface.errors import EnfaceError
from enface.system.signals import caught
from enface_tools.evaluate.console import say_summary, say_unavailable

Folders = Annotated[
    tuple[Path, Path] | None,
    typer.Option(
        "--pairs", metavar="OUTPUTS TARGETS", help="Two folders of images, matched by name.", show_default=False
    ),
]
Sources = Annotated[
    Path | None, typer.Option("--sources", metavar="DIR", help="What the outputs were made from, for the baseline.")
]
Out = Annotated[
    Path | None, typer.Option("--out", metavar="DIR", help="Where results go; evaluations/NAME of the outputs.")
]
Metrics = Annotated[
    str | None, typer.Option("--metrics", metavar="NAMES", help="With commas between; the usual ones unless given.")
]
Plugins = Annotated[
    list[str] | None, typer.Option("--plugin", metavar="FILE", help="A file or module that brings metrics; repeatable.")
]
Key = Annotated[
    str | None,
    typer.Option("--key", metavar="REGEX", help="Match names by its group 1; outputs may then share a target."),
]
Identity = Annotated[
    str | None, typer.Option("--identity", metavar="REGEX", help="Its group 1 in a name says who is seen.")
]
Labels = Annotated[
    Path | None, typer.Option("--labels", metavar="CSV", help="What else is known: a column key, and any others.")
]
Subset = Annotated[bool, typer.Option("--subset", help="Allow targets without an output.")]
Resize = Annotated[bool, typer.Option("--resize", help="Resize outputs and sources to the size of the targets.")]
Batch = Annotated[int | None, typer.Option("--batch", min=1, help="Images at a time; by their size unless given.")]
Pictures = Annotated[
    int | None, typer.Option("--pictures", min=0, help="Of how many images pictures are kept; 1000 unless given.")
]
Where = Annotated[Device | None, typer.Option("--device", help="Where it is measured; auto unless given.")]


def evaluate_pairs(
    outputs: Path,
    targets: Path,
    sources: Path | None = None,
    *,
    out: Path | None = None,
    metrics: str | None = None,
    overrides: Sequence[str] = (),
    plugin: Sequence[str] = (),
    key: str | None = None,
    identity: str | None = None,
    labels: Path | None = None,
    subset: bool = False,
    resize: bool = False,
    batch: int | None = None,
    device: str = "auto",
    pictures: int = 1000,
    bootstrap: int = 1000,
    seed: int = 0,
) -> Path:
    """Measure a folder of outputs against a folder of targets, and say what came of it.

    Args:
        sources: The folder of what the outputs were made from; copying them is then the baseline.
        out: Where results go; ``evaluations/NAME`` of the outputs' folder unless given.
        metrics: Names, with commas between; the usual ones unless given.
        overrides: ``metrics.NAME.KEY=VALUE``, ``regions.NAME.KEY=VALUE``.
        plugin: Paths of Python files, or module names, that bring metrics.
        key: A regular expression; outputs and targets whose group 1 agrees belong together.
        identity: A regular expression; its group 1 says whose image an output is.
        labels: A CSV file with a column ``key``.
        subset: Allow targets and sources without an output.
        resize: Bring outputs and sources to the targets' size.
        batch: Images at a time; by their size unless given.
        device: ``auto``, ``cpu`` or ``cuda``.
        pictures: Of how many images pictures are written.
        bootstrap: Resamples for the intervals.

    Returns:
        The folder of results.

    Raises:
        EnfaceError: when something given is wrong, before anything is measured; or an image cannot be decoded.
        typer.Exit: with 128 and the signal's number, when SIGINT or SIGTERM stopped it.
    """
    from enface.plugin.catalog import Catalog
    from enface.plugin.manager import load_plugins
    from enface_tools.inference.apply import device_of
    from enface_tools.pairs.evaluation import FolderEvaluation, Options

    folders = {"outputs": outputs, "targets": targets} | ({"sources": sources} if sources is not None else {})
    options = Options(
        metrics=None if metrics is None else _names(metrics),
        overrides=overrides,
        key=key,
        identity=identity,
        labels=labels,
        subset=subset,
        resize=resize,
        batch=batch,
        pictures=pictures,
        bootstrap=bootstrap,
        seed=seed,
    )
    found: FolderEvaluation | None = None
    try:
        with caught(_stop):
            with progress_bar("checking") as progress:
                catalog = Catalog(load_plugins(plugin))
                found = FolderEvaluation(folders, out, catalog, device_of(device), options, progress)
            say(f"{len(found)} outputs match their targets; results: {found.folder}")
            # Before hours are spent on it.
            say_unavailable(found.built.unavailable)
            _say_resumed(found.begun, found.measured, len(found))
            with progress_bar("measuring") as progress:
                summary = found(progress)
    except _Stopped as stopped:
        kept = "" if found is None else f" after {found.measured} of {len(found)} images, which are kept"
        say(f"stopped by {stopped}{kept}; give the same command to go on")
        raise typer.Exit(128 + stopped.number) from None
    say_summary(summary)
    from enface_tools.report.run_page import write_report

    say(f"report: {write_report(found.folder)}")
    return found.folder


class _Stopped(BaseException):
    """A signal asked to stop; nothing that tells of errors on its way is to take it for one."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


def _stop(number: int) -> None:
    raise _Stopped(number)


def _names(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",")]
    if not all(names) or len(set(names)) != len(names):
        raise EnfaceError(f"--metrics {text}: give different names with commas between, as l1,psnr")
    return names


def _say_resumed(begun: bool, measured: int, total: int) -> None:
    if measured:
        say(f"{measured} of {total} images are measured already; going on")
    elif begun:
        say("images, metrics or options have changed since this was interrupted; starting over")
