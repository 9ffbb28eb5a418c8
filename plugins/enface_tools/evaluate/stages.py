"""What each stage bought: the test, on the network that every stage ended with."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import Any

import pandas as pd

from enface.recipe.models import Recipe, StartModel
from enface.train.build import output_of
from enface_tools.evaluate.checkpoints import load_network, stage_ends
from enface_tools.evaluate.evaluator import Evaluator, save_grid
from enface_tools.evaluate.statistics import interval
from enface_tools.evaluate.summary import known


def parent_stage(recipe: Recipe, name: str) -> str | None:
    """The stage of this run whose end a stage starts from; None when it starts from elsewhere."""
    start = recipe.stages[name].start
    if isinstance(start, StartModel):
        return start.stage if (start.run, start.checkpoint, start.step) == (None, None, None) else None
    names = list(recipe.stages)
    return names[names.index(name) - 1] if start == "previous" and names.index(name) > 0 else None


def evaluate_stages(evaluator: Evaluator, progress: Callable[[int, int], None] | None = None) -> dict[str, Any]:
    """Measure every stage's end; write ``evaluation/stages.json``, and a table and a grid a stage.

    A stage is compared with the one it started from, image by image: the change's interval is that of the
    paired differences, resampled over identities, so it is much narrower than those of the means.

    Several processes all call this and measure a share each; the main one writes.

    Returns:
        What ``stages.json`` holds; nothing on a process that is not the main one. For each stage ``step``, ``after``
        (the stage it started from) and for each metric ``mean``, ``low``, ``high`` and, where there is a stage to
        compare with, ``change`` likewise.
    """
    run = evaluator.run
    folder = run.directory / "evaluation" / "stages"
    if run.engine.is_main:
        folder.mkdir(parents=True, exist_ok=True)
    about = evaluator.about()
    frames: dict[str, pd.DataFrame] = {}
    found: dict[str, Any] = {}
    last = run.step
    for name, path in stage_ends(run.directory).items():
        network = load_network(run, path).eval()
        frames[name] = evaluator.measure(partial(output_of, network), progress, regions=False).images
        if not run.engine.is_main:
            continue
        pd.concat([about, frames[name]], axis=1).to_csv(folder / f"{name}.csv", index=False)
        save_grid(evaluator, network, about, folder / f"{name}.png")
        parent = parent_stage(run.recipe, name)
        found[name] = {"step": run.step, "after": parent, "metrics": {}}
        for metric in frames[name].columns:
            item = _mean(evaluator, about, frames[name][metric])
            if parent in frames:
                item["change"] = _mean(evaluator, about, frames[name][metric] - frames[parent][metric])
            found[name]["metrics"][str(metric)] = item
    run.step = last
    if not run.engine.is_main:
        return {}
    (run.directory / "evaluation" / "stages.json").write_text(json.dumps(found, indent=1), encoding="utf-8")
    return found


def _mean(evaluator: Evaluator, about: pd.DataFrame, values: pd.Series[float]) -> dict[str, Any]:
    recipe = evaluator.run.recipe
    low, high = interval(values.to_numpy(), about["identity"].to_numpy(), recipe.evaluation.bootstrap, recipe.seed)
    return {"mean": known(values.mean()), "low": known(low), "high": known(high)}
