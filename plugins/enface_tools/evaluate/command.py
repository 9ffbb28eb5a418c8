"""The ``evaluate`` command."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from enface.cli.launch import Processes, launch_and_tell
from enface.cli.options import app, load, prepared, progress_bar, require_run, say
from enface.errors import EnfaceError, RecipeError
from enface.system.processes import check_processes, set_words
from enface.system.signals import unwound
from enface_tools.evaluate.console import measure_and_report, say_summary, say_unavailable
from enface_tools.pairs import command as pairs_of

if TYPE_CHECKING:
    from enface.train.run import Run
    from enface_tools.evaluate.evaluator import Evaluator


@app.command()
def evaluate(
    run: Annotated[
        Path | None, typer.Argument(help="A run directory (runs/NAME/ID); none with --pairs.", show_default=False)
    ] = None,
    checkpoint: Annotated[
        str,
        typer.Option("--checkpoint", metavar="WHICH", help="best, last, all, a number of steps, or a stage's name."),
    ] = "last",
    average: Annotated[
        bool, typer.Option("--ema/--raw", help="The running average where there is one, or the plain weights.")
    ] = True,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="A key of metrics or evaluation; with --pairs of metrics or regions."
        ),
    ] = None,
    processes: Processes = 1,
    pairs: pairs_of.Folders = None,
    sources: pairs_of.Sources = None,
    out: pairs_of.Out = None,
    metrics: pairs_of.Metrics = None,
    plugin: pairs_of.Plugins = None,
    key: pairs_of.Key = None,
    identity: pairs_of.Identity = None,
    labels: pairs_of.Labels = None,
    subset: pairs_of.Subset = False,
    resize: pairs_of.Resize = False,
    batch: pairs_of.Batch = None,
    pictures: pairs_of.Pictures = None,
    device: pairs_of.Where = None,
) -> None:
    """Evaluate a run and write its report anew; or, with --pairs, images that any other system made.

    The last checkpoint's numbers are the run's: RUN/evaluation. Those of any other lie in
    RUN/evaluation/checkpoints, and with all of them is checkpoints.json, metrics over steps.

    With --pairs the images of two folders are matched by their names. Stopped, it goes on when it is called again.
    """
    given: dict[str, Any] = {
        **{"sources": sources, "out": out, "metrics": metrics, "plugin": plugin, "key": key, "identity": identity},
        **{"labels": labels, "subset": subset, "resize": resize, "batch": batch, "pictures": pictures},
        "device": device and device.value,
    }
    given = {name: value for name, value in given.items() if value not in (None, False, [])}
    if pairs is not None:
        if run is not None or checkpoint != "last" or not average or processes > 1:
            raise EnfaceError(
                "--pairs measures images, not a run: leave out the run directory, --checkpoint, --raw and --processes"
            )
        pairs_of.evaluate_pairs(*pairs, overrides=set_ or [], **given)
        return
    if run is None:
        raise EnfaceError("name a run directory (runs/NAME/ID), or two folders of images: --pairs OUTPUTS TARGETS")
    if given:
        raise EnfaceError(f"--{next(iter(given))} is for --pairs; of a run, its recipe says what is measured")
    if processes > 1:
        _launch(run, checkpoint, average=average, overrides=set_ or [], processes=processes)
        return
    _evaluate_run(run, checkpoint, average=average, overrides=set_ or [])


def _launch(run: Path, checkpoint: str, *, average: bool, overrides: list[str], processes: int) -> None:
    """Check what can be checked, then run the same command as several processes."""
    from enface_tools.evaluate.checkpoints import find_checkpoints

    require_run(run)
    find_checkpoints(run, checkpoint)
    check_processes(processes, load(run, overrides).recipe.engine.device)
    words = ["evaluate", str(run), "--checkpoint", checkpoint, *([] if average else ["--raw"]), *set_words(overrides)]
    launch_and_tell(processes, words, lambda: "the others were ended. Evaluate again")


def _evaluate_run(run: Path, checkpoint: str, *, average: bool, overrides: list[str]) -> None:
    from enface_tools.evaluate.checkpoints import find_checkpoints
    from enface_tools.evaluate.evaluator import Evaluator

    require_run(run)
    paths = find_checkpoints(run, checkpoint)
    opened = _opened(run, overrides)
    evaluator = Evaluator(opened)
    with opened.early_end_told(), unwound():
        opened.notify("run_started")
        if checkpoint == "last" and average:
            from enface_tools.evaluate.checkpoints import load_network

            (path,) = paths.values()
            measure_and_report(evaluator, load_network(opened, path), _about(path, average=True))
        else:
            _others(evaluator, paths, average=average)
    opened.notify("run_ended", completed=True)
    opened.engine.wait()
    opened.engine.close()


def _opened(directory: Path, overrides: list[str]) -> Run:
    """A run whose data is at hand. Raises RecipeError when an override changes what was trained."""
    loaded = load(directory, overrides)
    if overrides and loaded.recipe.training_digest() != load(directory, []).recipe.training_digest():
        raise RecipeError(f"--set {' '.join(overrides)}: only metrics, evaluation and log may change after training")
    opened = prepared(loaded)
    opened.directory = directory
    return opened


def _others(evaluator: Evaluator, paths: dict[str, Path], *, average: bool) -> None:
    """Measure checkpoints beside the run's own evaluation.

    Several processes all call this; the main one writes and speaks.
    """
    from enface_tools.evaluate.checkpoints import load_network
    from enface_tools.evaluate.evaluator import evaluate as measure

    main = evaluator.run.engine.is_main
    root = evaluator.run.directory / "evaluation" / "checkpoints"
    baselines = evaluator.baselines()
    table: dict[str, Any] = {}
    for name, path in paths.items():
        label = name if average else f"{name}-raw"
        network = load_network(evaluator.run, path, raw=not average)
        about = _about(path, average=average)
        with progress_bar(f"evaluating {label}", show=main) as progress:
            summary = measure(evaluator, network, progress, folder=root / label, checkpoint=about, baselines=baselines)
        if not main:
            continue
        say(f"{label}: {root / label}")
        say_summary(summary)
        keys = ("mean", "low", "high")
        numbers = {name: {key: item[key] for key in keys} for name, item in summary["metrics"].items()}
        table[label] = {"step": summary["step"], **about, "metrics": numbers}
    if not main:
        return
    say_unavailable(evaluator.unavailable)
    if len(paths) > 1:
        (root.parent / "checkpoints.json").write_text(json.dumps(table, indent=1), encoding="utf-8")
        say(f"over steps: {root.parent / 'checkpoints.json'}")


def _about(path: Path, *, average: bool) -> dict[str, str]:
    from enface_tools.evaluate.checkpoints import averaged

    return {"file": path.stem, "weights": "average" if average and averaged(path) else "plain"}
