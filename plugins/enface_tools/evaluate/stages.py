"""Evaluation of every stage: its last network on the evaluated images, compared with the stage it started from."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy.typing as npt
import pandas as pd

from enface.recipe.models import Recipe, StartModel
from enface_tools.evaluate.caveats import average_caveats
from enface_tools.evaluate.checkpoints import load_network, measured_weights, stage_ends
from enface_tools.evaluate.evaluator import Evaluator, save_grid
from enface_tools.evaluate.models import StageMetric, StageSummary, Weights
from enface_tools.evaluate.results import write_table
from enface_tools.evaluate.splits import evaluation_folder
from enface_tools.evaluate.summary import estimate


def parent_stage(recipe: Recipe, name: str) -> str | None:
    """The stage of this run that a stage starts from; None if it starts from elsewhere."""
    start = recipe.stages[name].start
    if isinstance(start, StartModel):
        return start.stage if (start.run, start.checkpoint, start.step) == (None, None, None) else None
    names = list(recipe.stages)
    return names[names.index(name) - 1] if start == "previous" and names.index(name) > 0 else None


def evaluate_stages(
    evaluator: Evaluator, progress: Callable[[int, int], None] | None = None
) -> dict[str, StageSummary]:
    """Evaluate the end of every stage; write ``stages.json``, and a table and a grid per stage.

    A change is the mean of paired differences, image by image, so that its interval is much narrower than those of the
    means.

    All processes call this and measure a part each; the main one writes.

    Returns:
        Contents of ``stages.json``; empty except on the main process.
    """
    run = evaluator.run
    folder = evaluation_folder(run.directory, evaluator.split) / "stages"
    if run.engine.is_main:
        folder.mkdir(parents=True, exist_ok=True)
    about = evaluator.about()
    tables: dict[str, pd.DataFrame] = {}
    stages: dict[str, StageSummary] = {}
    last = run.step
    for name, path in stage_ends(run.directory).items():
        network = load_network(run, path).eval()
        tables[name] = evaluator.measure(evaluator.values(network), progress, regions=False).images
        if not run.engine.is_main:
            continue
        write_table(folder / f"{name}.csv", about, tables[name])
        save_grid(evaluator, network, about, folder / f"{name}.png")
        parent = parent_stage(run.recipe, name)
        metrics = _metrics(evaluator, about["identity"].to_numpy(), tables[name], tables.get(parent or ""))
        stages[name] = StageSummary(
            step=run.step,
            after=parent,
            weights=measured_weights(path),
            caveat=" ".join([*average_caveats(run.recipe, path), _about_start(run.recipe, name, stages)]).strip(),
            metrics=metrics,
        )
    run.step = last
    if not run.engine.is_main:
        return {}
    text = json.dumps({name: stage.dump() for name, stage in stages.items()}, indent=1)
    (folder.parent / "stages.json").write_text(text, encoding="utf-8")
    return stages


def _about_start(recipe: Recipe, name: str, stages: Mapping[str, StageSummary]) -> str:
    """A sentence if a stage started from other weights of its parent than those that were measured."""
    start, after = recipe.stages[name].start, parent_stage(recipe, name)
    parent = stages.get(after or "")
    started: Weights = "average" if isinstance(start, StartModel) and start.average else "plain"
    if parent is None or parent.weights == started:
        return ""
    words = {"average": "the running average", "plain": "the plain weights"}
    return (
        f"{name} started from {words[started]} of {after}, but its change is relative to "
        f"{words[parent.weights or started]}, so that it contains the difference between the two."
    )


def _metrics(
    evaluator: Evaluator, identities: npt.NDArray[Any], table: pd.DataFrame, before: pd.DataFrame | None
) -> dict[str, StageMetric]:
    metrics = {}
    for name, metric in evaluator.metrics.items():
        if name not in table:
            continue
        item = metrics[name] = StageMetric(**estimate(table[name].to_numpy(), identities).dump())
        if before is not None:
            compared = metric.direction.compared
            item.change = estimate((compared(table[name]) - compared(before[name])).to_numpy(), identities)
    return metrics
