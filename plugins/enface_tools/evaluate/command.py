"""The ``evaluate`` command, and what a run calls to be measured."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from enface import hookimpl
from enface.cli.options import Offline, Processes, RunPath, Runs, Terminal, launch_processes
from enface.errors import EnfaceError
from enface.system.processes import set_arguments
from enface_tools.evaluate.splits import Split

if TYPE_CHECKING:
    from torch import nn

    from enface.training.run import Run
    from enface_tools.evaluate.validator import RunValidator


SplitOption = Annotated[
    Split, typer.Option("--split", help="People to measure: val to choose by, test for the final number.")
]


def _refuse_pairs(folders: tuple[Path, Path] | None) -> None:
    if folders is not None:
        raise EnfaceError(f"--pairs is a command of its own now: enface pairs {folders[0]} {folders[1]}")


def evaluate(
    run: RunPath,
    checkpoint: Annotated[
        str,
        typer.Option("--checkpoint", metavar="WHICH", help="best, last, all, a number of steps, or a stage's name."),
    ] = "last",
    split: SplitOption = "val",
    average: Annotated[
        bool, typer.Option("--ema/--raw", help="Evaluate the running average of the weights, or the plain weights.")
    ] = True,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a key of metrics or evaluation.")
    ] = None,
    processes: Processes = 1,
    runs: Runs = Path("runs"),
    _offline: Offline = False,
    # Eager, so that it is answered before a missing run directory.
    _pairs: Annotated[
        tuple[Path, Path] | None, typer.Option("--pairs", hidden=True, is_eager=True, callback=_refuse_pairs)
    ] = None,
) -> None:
    """Evaluate a run and write its report.

    Validation people are for choosing and comparing: RUN/evaluation/val. Test people are opened deliberately, with
    --split test: RUN/evaluation; openings.jsonl there lists every look at them. Checkpoints other than the last go to
    the folder checkpoints; checkpoints.json holds the metrics over steps after --checkpoint all.
    """
    if processes > 1:
        _launch(run, checkpoint, split, average=average, overrides=set_ or [], processes=processes)
        return
    from enface.training.engine import leave_process_group
    from enface_tools.evaluate.run import write_evaluations

    write_evaluations(run, checkpoint, split=split, average=average, overrides=set_ or [], progress=Terminal())
    leave_process_group()


def _launch(run: Path, checkpoint: str, split: Split, *, average: bool, overrides: list[str], processes: int) -> None:
    """Check the arguments, then run the same command as several processes."""
    from enface.recipe.load import load_recipe
    from enface_tools.evaluate.checkpoints import find_checkpoints
    from enface_tools.evaluate.run import require_run

    require_run(run)
    find_checkpoints(run, checkpoint)
    device = load_recipe(run, overrides).recipe.engine.device
    raw = [] if average else ["--raw"]
    arguments = ["evaluate", str(run), "--checkpoint", checkpoint, "--split", split, *raw, *set_arguments(overrides)]
    launch_processes(processes, device, arguments, lambda: "the others were ended. Evaluate again")


@hookimpl
def commands(app: typer.Typer) -> None:
    """Add ``evaluate``."""
    app.command("evaluate")(evaluate)


@hookimpl
def kinds() -> dict[str, type]:
    """Bring the kind ``metric``."""
    from enface_tools.evaluate.metrics import Metric

    return {"metric": Metric}


@hookimpl
def validator(run: Run) -> RunValidator:
    """Measure networks by the recipe's metrics."""
    from enface_tools.evaluate.validator import RunValidator

    return RunValidator(run)


@hookimpl
def trained(run: Run, network: nn.Module) -> None:
    """Evaluate the trained network and its stages."""
    from enface_tools.evaluate.run import evaluate_trained

    evaluate_trained(run, network)
