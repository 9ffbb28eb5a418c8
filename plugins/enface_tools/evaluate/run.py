"""Evaluating a run: its last network at the end of training, or any checkpoint later."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import nn

from enface.errors import EnfaceError, RecipeError
from enface.recipe.load import is_run, load_recipe
from enface.system.messages import Reporter, report_unavailable
from enface.system.signals import raise_on_signals
from enface.training.prepare import prepare_run
from enface.training.run import Run
from enface_tools.evaluate.checkpoints import averaged, find_checkpoints, load_network
from enface_tools.evaluate.console import report_stages, report_summary
from enface_tools.evaluate.evaluator import Evaluator, evaluate_network
from enface_tools.evaluate.models import CheckpointInfo, CheckpointSummary, Estimate, Summary
from enface_tools.evaluate.results import Results
from enface_tools.evaluate.stages import evaluate_stages


def evaluate(
    run: Run | Path | str,
    *,
    checkpoint: str = "last",
    average: bool = True,
    overrides: Sequence[str] = (),
    progress: Reporter | None = None,
) -> Results:
    """Evaluate a run on its test split.

    The numbers of the last checkpoint are the run's own and replace ``RUN/evaluation``; those of any other checkpoint
    go to ``RUN/evaluation/checkpoints``.

    Args:
        run: A run, or its directory.
        checkpoint: ``best``, ``last``, a number of steps, or a stage's name.
        average: Evaluate the running average of the weights if the checkpoint has one.
        overrides: Recipe keys of ``metrics``, ``evaluation`` or ``log`` to change, as ``metrics.color_shift={}``.
        progress: Receives messages and progress; default: silent.

    Raises:
        CheckpointError: if the run has no such checkpoint.
        RecipeError: if an override would change what was trained.
    """
    if checkpoint == "all":
        raise EnfaceError("checkpoint 'all' has several results; evaluate_checkpoints returns them")
    (results,) = evaluate_checkpoints(run, checkpoint, average=average, overrides=overrides, progress=progress).values()
    return results


def evaluate_checkpoints(
    run: Run | Path | str,
    which: str = "all",
    *,
    average: bool = True,
    overrides: Sequence[str] = (),
    progress: Reporter | None = None,
) -> dict[str, Results]:
    """Evaluate checkpoints of a run on its test split; the arguments are those of :func:`evaluate`.

    Args:
        which: ``all``, or one checkpoint.

    Returns:
        The results by name of the checkpoint.
    """
    folders = write_evaluations(run, which, average=average, overrides=overrides, progress=progress)
    return {label: Results.read(folder) for label, folder in folders.items()}


def write_evaluations(
    run: Run | Path | str,
    which: str,
    *,
    average: bool = True,
    overrides: Sequence[str] = (),
    progress: Reporter | None = None,
) -> dict[str, Path]:
    """Evaluate as :func:`evaluate_checkpoints` does; return the folders of the results without reading them."""
    directory = run.directory if isinstance(run, Run) else Path(run)
    require_run(directory)
    paths = find_checkpoints(directory, which)
    opened = _open(directory, overrides, progress)
    with opened.observed(), raise_on_signals():
        opened.notify("run_started")
        evaluator = Evaluator(opened)
        if which == "last" and average:
            (path,) = paths.values()
            evaluate_run(evaluator, load_network(opened, path), _describe(path, average=True))
            folders = {"last": directory / "evaluation"}
        else:
            folders = _evaluate_checkpoints(evaluator, paths, average=average)
    opened.notify("run_ended", completed=True)
    opened.engine.wait()
    return folders


def require_run(directory: Path) -> None:
    """Raise EnfaceError if a folder is not a run directory."""
    if not is_run(directory):
        raise EnfaceError(f"{directory} is not a run directory (it has no recipe.yaml)")


def evaluate_run(evaluator: Evaluator, network: nn.Module, checkpoint: CheckpointInfo | None = None) -> Summary | None:
    """Evaluate a run's last network and the networks that its stages ended with, and notify plugins.

    All processes call this; the main one writes and reports.

    Args:
        checkpoint: The checkpoint that the network is from.
    """
    run = evaluator.run
    with run.reporter.progress("evaluating") as progress:
        summary = evaluate_network(evaluator, network, progress, checkpoint=checkpoint)
    if summary is not None:
        report_summary(summary, run.reporter)
    if run.recipe.evaluation.stages and len(run.recipe.stages) > 1:
        with run.reporter.progress("evaluating stages") as progress:
            stages = evaluate_stages(evaluator, progress)
        report_stages(stages, run.reporter)
    elif summary is not None:
        # The report would show an earlier evaluation's stages beside numbers of another network.
        (run.directory / "evaluation" / "stages.json").unlink(missing_ok=True)
    if summary is not None:
        report_unavailable(summary.unavailable, run.reporter)
        run.loaded.plugins.hook.results_written(folder=run.directory, reporter=run.reporter, run=run)
    return summary


def _open(directory: Path, overrides: Sequence[str], progress: Reporter | None) -> Run:
    loaded = load_recipe(directory, overrides)
    if overrides and loaded.recipe.training_digest() != load_recipe(directory).recipe.training_digest():
        raise RecipeError(f"--set {' '.join(overrides)}: only metrics, evaluation and log may change after training")
    opened = prepare_run(loaded, progress)
    opened.directory = directory
    return opened


def _evaluate_checkpoints(evaluator: Evaluator, paths: Mapping[str, Path], *, average: bool) -> dict[str, Path]:
    """Evaluate checkpoints beside the run's own evaluation; return the folders. All processes call this."""
    run = evaluator.run
    root = run.directory / "evaluation" / "checkpoints"
    baselines = evaluator.baselines()
    folders: dict[str, Path] = {}
    table: dict[str, CheckpointSummary] = {}
    for name, path in paths.items():
        label = name if average else f"{name}-raw"
        network = load_network(run, path, raw=not average)
        checkpoint = _describe(path, average=average)
        with run.reporter.progress(f"evaluating {label}") as progress:
            summary = evaluate_network(
                evaluator, network, progress, folder=root / label, checkpoint=checkpoint, baselines=baselines
            )
        folders[label] = root / label
        if summary is None:
            continue
        run.reporter.say(f"{label}: {root / label}")
        report_summary(summary, run.reporter)
        metrics = {
            name: Estimate(mean=item.mean, low=item.low, high=item.high) for name, item in summary.metrics.items()
        }
        table[label] = CheckpointSummary(step=run.step, **checkpoint.dump(), metrics=metrics)
    if run.engine.is_main:
        report_unavailable(evaluator.unavailable, run.reporter)
        if len(paths) > 1:
            text = json.dumps({label: item.dump() for label, item in table.items()}, indent=1)
            (root.parent / "checkpoints.json").write_text(text, encoding="utf-8")
            run.reporter.say(f"over steps: {root.parent / 'checkpoints.json'}")
    return folders


def _describe(path: Path, *, average: bool) -> CheckpointInfo:
    return CheckpointInfo(file=path.stem, weights="average" if average and averaged(path) else "plain")
