"""The ``pairs`` command."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Annotated

import typer

from enface import hookimpl
from enface.cli.options import Device, Offline, Terminal
from enface.errors import EnfaceError
from enface.system.signals import on_signals


def pairs(
    outputs: Annotated[Path, typer.Argument(help="Folder of the images to measure.", show_default=False)],
    targets: Annotated[Path, typer.Argument(help="Folder of their targets.", show_default=False)],
    sources: Annotated[
        Path | None,
        typer.Option("--sources", metavar="DIR", help="Folder of the outputs' sources; copying them is the baseline."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="Results folder (default: evaluations/NAME of the outputs)."),
    ] = None,
    metrics: Annotated[
        str | None, typer.Option("--metrics", metavar="NAMES", help="Metrics, separated by commas, as mae,psnr.")
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Set a key of metrics, masks or regions; repeatable."),
    ] = None,
    plugin: Annotated[
        list[str] | None,
        typer.Option("--plugin", metavar="FILE", help="File or module with further components; repeatable."),
    ] = None,
    key: Annotated[
        str | None,
        typer.Option("--key", metavar="REGEX", help="Match names by its group 1; outputs may then share a target."),
    ] = None,
    identity: Annotated[
        str | None, typer.Option("--identity", metavar="REGEX", help="Its group 1 in an output's name is the identity.")
    ] = None,
    labels: Annotated[
        Path | None, typer.Option("--labels", metavar="CSV", help="Labels: a column key, and columns to group by.")
    ] = None,
    subset: Annotated[bool, typer.Option("--subset", help="Allow targets without an output.")] = False,
    resize: Annotated[bool, typer.Option("--resize", help="Resize outputs and sources to the targets' size.")] = False,
    self_pairs: Annotated[
        bool, typer.Option("--self-pairs", help="Also measure outputs whose source is their target.")
    ] = False,
    batch: Annotated[
        int | None, typer.Option("--batch", min=1, help="Images measured together (default: by their size).")
    ] = None,
    pictures: Annotated[int, typer.Option("--pictures", min=0, help="Number of images to keep pictures of.")] = 1000,
    device: Annotated[Device, typer.Option("--device", help="Where metrics are computed.")] = Device.auto,
    _offline: Offline = False,
) -> None:
    """Measure images of another system against their targets.

    Images of the two folders are matched by name. Results and report have the form of a run's evaluation. After an
    interruption, give the same command again to resume.
    """
    from enface.system.messages import report_unavailable
    from enface_tools.evaluate.console import report_summary
    from enface_tools.pairs.evaluation import PairsEvaluation
    from enface_tools.pairs.recipe import PairsOptions

    options = PairsOptions(
        metrics=None if metrics is None else _names(metrics),
        plugins=plugin or [],
        overrides=set_ or [],
        key=key,
        identity=identity,
        labels=labels,
        subset=subset,
        resize=resize,
        batch=batch,
        device=device.value,
        pictures=pictures,
        self_pairs=self_pairs,
    )
    folders = {"outputs": outputs, "targets": targets} | ({"sources": sources} if sources is not None else {})
    terminal = Terminal()
    evaluation: PairsEvaluation | None = None
    try:
        with on_signals(_stop):
            with terminal.progress("checking") as progress:
                evaluation = PairsEvaluation(folders, out, options, progress, terminal)
            terminal.say(f"{len(evaluation)} outputs match their targets; results: {evaluation.folder}")
            # Measuring may take hours, so this is reported before it.
            report_unavailable(evaluation.unavailable, terminal)
            if message := _resumed(evaluation.begun, evaluation.measured, len(evaluation)):
                terminal.say(message)
            with terminal.progress("measuring") as progress:
                summary = evaluation(progress)
    except _Stopped as stopped:
        kept = "" if evaluation is None else f" after {evaluation.measured} of {len(evaluation)} images, which are kept"
        terminal.say(f"stopped by {stopped}{kept}; give the same command to resume")
        raise typer.Exit(128 + stopped.number) from None
    report_summary(summary, terminal)
    evaluation.loaded.plugins.hook.results_written(folder=evaluation.folder, reporter=terminal, run=None)


class _Stopped(BaseException):
    """A signal. It is no Exception, so that handlers of errors let it pass."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


def _stop(number: int) -> None:
    raise _Stopped(number)


def _names(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",")]
    if not all(names) or len(set(names)) != len(names):
        raise EnfaceError(f"--metrics {text}: give different names, separated by commas, as mae,psnr")
    return names


def _resumed(begun: bool, measured: int, total: int) -> str:
    if measured:
        return f"{measured} of {total} images are measured already; resuming"
    return "images, metrics or options have changed since the interruption; starting over" if begun else ""


@hookimpl
def commands(app: typer.Typer) -> None:
    """Add ``pairs``."""
    app.command("pairs")(pairs)
