"""Evaluation of every stage: its last network on the test images, compared with the stage it started from."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy.typing as npt
import pandas as pd

from enface.recipe.models import Recipe, StartModel
from enface.training.build import output_of
from enface_tools.evaluate.checkpoints import load_network, stage_ends
from enface_tools.evaluate.evaluator import Evaluator, save_grid
from enface_tools.evaluate.models import Estimate, StageMetric, StageSummary
from enface_tools.evaluate.statistics import interval
from enface_tools.evaluate.summary import finite


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
    """Evaluate the end of every stage; write ``evaluation/stages.json``, and a table and a grid per stage.

    A change is the mean of paired differences, image by image; its interval resamples identities, so it is much
    narrower than those of the means.

    All processes call this and measure a part each; the main one writes.

    Returns:
        Contents of ``stages.json``; empty except on the main process.
    """
    run = evaluator.run
    folder = run.directory / "evaluation" / "stages"
    if run.engine.is_main:
        folder.mkdir(parents=True, exist_ok=True)
    about = evaluator.about()
    tables: dict[str, pd.DataFrame] = {}
    stages: dict[str, StageSummary] = {}
    last = run.step
    for name, path in stage_ends(run.directory).items():
        network = load_network(run, path).eval()
        tables[name] = evaluator.measure(partial(output_of, network), progress, regions=False).images
        if not run.engine.is_main:
            continue
        pd.concat([about, tables[name]], axis=1).to_csv(folder / f"{name}.csv", index=False)
        save_grid(evaluator, network, about, folder / f"{name}.png")
        parent = parent_stage(run.recipe, name)
        metrics = _metrics(evaluator, about["identity"].to_numpy(), tables[name], tables.get(parent or ""))
        stages[name] = StageSummary(step=run.step, after=parent, metrics=metrics)
    run.step = last
    if not run.engine.is_main:
        return {}
    text = json.dumps({name: stage.dump() for name, stage in stages.items()}, indent=1)
    (run.directory / "evaluation" / "stages.json").write_text(text, encoding="utf-8")
    return stages


def _metrics(
    evaluator: Evaluator, identities: npt.NDArray[Any], table: pd.DataFrame, before: pd.DataFrame | None
) -> dict[str, StageMetric]:
    recipe = evaluator.run.recipe

    def estimate(values: pd.Series[float]) -> Estimate:
        low, high = interval(values.to_numpy(), identities, recipe.evaluation.bootstrap, recipe.seed)
        return Estimate(mean=finite(values.mean()), low=finite(low), high=finite(high))

    metrics = {str(name): StageMetric(**estimate(table[name]).dump()) for name in table.columns}
    if before is not None:
        for name, item in metrics.items():
            item.change = estimate(table[name] - before[name])
    return metrics
