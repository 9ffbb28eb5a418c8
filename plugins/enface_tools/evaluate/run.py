"""Evaluating a run: its last network at the end of training, or any checkpoint later."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import nn

from enface.errors import DataError, EnfaceError, RecipeError
from enface.recipe.files import is_run
from enface.recipe.load import load_recipe
from enface.system.messages import Reporter, duration, report_unavailable
from enface.system.signals import raise_on_signals
from enface.training.prepare import prepare_run
from enface.training.run import Run
from enface_tools.evaluate.checkpoints import find_checkpoints, load_network, measured_weights
from enface_tools.evaluate.console import report_stages, report_summary
from enface_tools.evaluate.evaluator import Evaluator, evaluate_network
from enface_tools.evaluate.models import CheckpointInfo, CheckpointSummary, StageSummary, Summary
from enface_tools.evaluate.openings import Seen, caveats_of_openings, opening, seen_in
from enface_tools.evaluate.results import Results
from enface_tools.evaluate.splits import Split, evaluation_folder, require_people
from enface_tools.evaluate.stages import evaluate_stages
from enface_tools.evaluate.validator import RunValidator


def evaluate(
    run: Run | Path | str,
    *,
    split: Split = "val",
    checkpoint: str = "last",
    average: bool = True,
    overrides: Sequence[str] = (),
    progress: Reporter | None = None,
) -> Results:
    """Evaluate a run on its validation people, or deliberately on its test people.

    The numbers of the last checkpoint go to ``RUN/evaluation/val``; ``RUN/evaluation`` itself holds those of the test
    people. Those of any other checkpoint go to ``checkpoints`` there. Every look at the test people is logged in
    ``RUN/evaluation/openings.jsonl``.

    Args:
        run: A run, or its directory.
        split: ``val`` to choose and compare, ``test`` for the final number.
        checkpoint: ``best``, ``last``, a number of steps, or a stage's name.
        average: Evaluate the running average of the weights if the checkpoint has one.
        overrides: Recipe keys of ``metrics``, ``evaluation`` or ``log`` to change, as ``metrics.color_shift={}``.
        progress: Receives messages and progress; default: silent.

    Raises:
        CheckpointError: if the run has no such checkpoint.
        DataError: if the run has no validation people.
        RecipeError: if an override would change what was trained.
    """
    if checkpoint == "all":
        raise EnfaceError("checkpoint 'all' has several results; evaluate_checkpoints returns them")
    (results,) = evaluate_checkpoints(
        run, checkpoint, split=split, average=average, overrides=overrides, progress=progress
    ).values()
    return results


def evaluate_checkpoints(
    run: Run | Path | str,
    which: str = "all",
    *,
    split: Split = "val",
    average: bool = True,
    overrides: Sequence[str] = (),
    progress: Reporter | None = None,
) -> dict[str, Results]:
    """Evaluate checkpoints of a run; the arguments are those of :func:`evaluate`.

    Args:
        which: ``all``, or one checkpoint.

    Returns:
        The results by name of the checkpoint.
    """
    folders = write_evaluations(run, which, split=split, average=average, overrides=overrides, progress=progress)
    return {label: Results.read(folder) for label, folder in folders.items()}


def write_evaluations(
    run: Run | Path | str,
    which: str,
    *,
    split: Split = "val",
    average: bool = True,
    overrides: Sequence[str] = (),
    progress: Reporter | None = None,
) -> dict[str, Path]:
    """Evaluate as :func:`evaluate_checkpoints` does; return the folders of the results without reading them."""
    directory = run.directory if isinstance(run, Run) else Path(run)
    require_run(directory)
    paths = find_checkpoints(directory, which)
    opened = _open(directory, overrides, progress)
    with raise_on_signals():
        require_people(opened, split)
        evaluator = Evaluator(opened, split)
        with opening(opened, split, "evaluate") as seen:
            if which == "last" and average:
                (path,) = paths.values()
                evaluate_run(evaluator, load_network(opened, path), seen, _describe(path, average=True))
                folders = {"last": evaluation_folder(directory, split)}
            else:
                folders = _evaluate_checkpoints(evaluator, paths, seen, average=average)
        if split == "test":
            _report_openings(opened)
        if which == "last" and average:
            _notify_written(opened)
    opened.engine.wait()
    return folders


def require_run(directory: Path) -> None:
    """Raise EnfaceError if a folder is not a run directory."""
    if not is_run(directory):
        raise EnfaceError(f"{directory} is not a run directory (it has no recipe.yaml)")


def evaluate_trained(run: Run, network: nn.Module) -> None:
    """Evaluate a run at its end: on validation people with all stages, then on test people.

    Comparing stages is choosing, so the test people see them only in a run without validation people. With the
    recipe's ``evaluation.split: val`` the test people are not opened at all.

    All processes call this; the main one writes, reports and notifies observers. Later evaluations do not notify
    them, because observers draw the curves of training.
    """
    started = time.monotonic()
    validator = run.validator if isinstance(run.validator, RunValidator) else RunValidator(run)
    last = find_checkpoints(run.directory, "last")
    (checkpoint,) = (_describe(path, average=True) for path in last.values())
    if validator.val is not None:
        _notify_evaluated(run, evaluate_run(validator.val, network, {}, checkpoint))
    if run.recipe.evaluation.split == "test":
        with opening(run, "test", "run") as seen:
            summary = evaluate_run(validator.test, network, seen, checkpoint, stages=validator.val is None)
            _notify_evaluated(run, summary)
        _report_openings(run)
    report_unavailable(validator.unavailable, run.reporter)
    run.reporter.say(f"evaluated in {duration(time.monotonic() - started)}")
    _notify_written(run)


def evaluate_run(
    evaluator: Evaluator,
    network: nn.Module,
    seen: dict[str, Seen],
    checkpoint: CheckpointInfo,
    *,
    stages: bool = True,
) -> Summary | None:
    """Evaluate a run's last network and the networks that its stages ended with.

    All processes call this; the main one writes and reports.

    Args:
        seen: Receives the numbers of each network.
        checkpoint: The checkpoint that the network is from.
        stages: Evaluate stages if the recipe has several.

    Returns:
        Contents of ``summary.json`` of the last network; None except on the main process.
    """
    run, split = evaluator.run, evaluator.split
    with run.reporter.progress(f"evaluating {split} images") as progress:
        summary = evaluate_network(evaluator, network, progress, checkpoint=checkpoint)
    if summary is not None:
        seen["last"] = seen_in(summary)
        run.reporter.say(f"{split} people:")
        report_summary(summary, run.reporter)
    if stages and run.recipe.evaluation.stages and len(run.recipe.stages) > 1:
        with run.reporter.progress(f"evaluating stages on {split} images") as progress:
            ends = evaluate_stages(evaluator, progress)
        seen |= {f"stage {name}": _seen_of_stage(stage) for name, stage in ends.items()}
        report_stages(ends, run.reporter)
    elif summary is not None:
        # The report would show an earlier evaluation's stages beside numbers of another network.
        (evaluation_folder(run.directory, split) / "stages.json").unlink(missing_ok=True)
    return summary


def _seen_of_stage(stage: StageSummary) -> Seen:
    metrics = {name: item.mean for name, item in stage.metrics.items()}
    return Seen(checkpoint=f"step-{stage.step:08d}", weights=stage.weights or "plain", metrics=metrics)


def _report_openings(run: Run) -> None:
    """Report that several recipes were seen on the test people of this run."""
    if not run.engine.is_main:
        return
    try:
        sentences = caveats_of_openings(run.directory)
    except DataError as error:
        sentences = [str(error)]
    for sentence in sentences:
        run.reporter.say(f"caveat: {sentence}")


def _notify_evaluated(run: Run, summary: Summary | None) -> None:
    if summary is not None:
        run.notify("evaluated", step=run.step, summary=summary.means, split=summary.split)


def _notify_written(run: Run) -> None:
    if run.engine.is_main:
        run.loaded.plugins.hook.results_written(folder=run.directory, reporter=run.reporter, run=run)


def _open(directory: Path, overrides: Sequence[str], progress: Reporter | None) -> Run:
    loaded = load_recipe(directory, overrides)
    if overrides and loaded.recipe.training_digest() != load_recipe(directory).recipe.training_digest():
        raise RecipeError(f"--set {' '.join(overrides)}: only metrics, evaluation and log may change after training")
    opened = prepare_run(loaded, progress, ("generator", "mask", "metric"))
    opened.directory = directory
    return opened


def _evaluate_checkpoints(
    evaluator: Evaluator, paths: Mapping[str, Path], seen: dict[str, Seen], *, average: bool
) -> dict[str, Path]:
    """Evaluate checkpoints beside the run's own evaluation; return the folders. All processes call this."""
    run = evaluator.run
    root = evaluation_folder(run.directory, evaluator.split) / "checkpoints"
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
        seen[label] = seen_in(summary)
        run.reporter.say(f"{label}: {root / label}")
        report_summary(summary, run.reporter)
        table[label] = CheckpointSummary.of(summary)
    if run.engine.is_main:
        report_unavailable(evaluator.unavailable, run.reporter)
        if len(paths) > 1:
            text = json.dumps({label: item.dump() for label, item in table.items()}, indent=1)
            (root.parent / "checkpoints.json").write_text(text, encoding="utf-8")
            run.reporter.say(f"over steps: {root.parent / 'checkpoints.json'}")
    return folders


def _describe(path: Path, *, average: bool) -> CheckpointInfo:
    return CheckpointInfo(file=path.stem, weights=measured_weights(path, average=average))
