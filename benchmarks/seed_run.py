"""The documented ladder on a pack of noise: what the benchmarks of training take their steps from.

Pictures are noise, which costs a network as much as faces do; labels and pairing are Multi-PIE's (9 poses, 20 lights).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from torch import Tensor

from enface.data.pack import Pack
from enface.data.pairs import BatchPlan, split_rows
from enface.recipe.load import load_recipe
from enface.train.engine import Engine
from enface.train.run import Run
from enface.train.step import Step
from enface.train.trainer import Trainer
from reference import LIGHTS, POSES, boundary

RECIPE = Path(__file__).resolve().parents[1] / "recipes" / "seed" / "ladder.yaml"
RECORDINGS = 2


def noise_pack(images: int, size: int, pixels: npt.NDArray[np.uint8] | None = None) -> Pack:
    """A pack of noise with Multi-PIE's columns.

    Args:
        pixels: uint8 (N, size, size, 3), N at least ``images``, where they lie ready.
    """
    people = max(images // (POSES * LIGHTS * RECORDINGS), 2)
    index = pd.MultiIndex.from_product(
        [range(people), [1], range(RECORDINGS), range(POSES), range(LIGHTS)],
        names=["identity", "session", "recording", "pose", "light"],
    )
    table = index.to_frame(index=False)
    table["pose"] = (table["pose"] - POSES // 2) * 15
    table["identity"] = table["identity"].map("{:03d}".format)
    table.insert(0, "key", [f"{number:07d}" for number in range(len(table))])
    if pixels is None:
        pixels = np.random.default_rng(0).integers(0, 256, (len(table), size, size, 3), np.uint8)
    about = {"dataset": "noise", "size": size, "digest": "noise", "images": len(table), "skipped": []}
    return Pack(Path(), pixels.transpose(0, 3, 1, 2), None, table, {**about, "region_names": []})


def trainer(pack: Pack, folder: Path, overrides: dict[str, Any]) -> Trainer:
    """A trainer of the documented ladder on a pack."""
    np.save(folder / "boundary.npy", boundary())
    settings = {
        "data": "{use: multipie, root: nowhere, size: 96, load_size: 100, split: {by: identity, train: 0.8}}",
        "masks.boundary.file": folder / "boundary.npy",
        "metrics": "[]",
        **overrides,
    }
    loaded = load_recipe(RECIPE, [f"{key}={value}" for key, value in settings.items()])
    run = Run(folder, loaded, Engine(loaded.recipe.engine), pack, split_rows(pack.table, loaded.recipe.data.split))
    return Trainer(run)


def batch_of(made: Trainer, name: str, step: Step, number: int = 0) -> dict[str, Tensor]:
    """The columns of a stage's batch."""
    stage = made.run.recipe.stages[name]
    return made._parts(step.columns(step.phases), plan(made, name), stage, number)[0]()


def plan(made: Trainer, name: str) -> BatchPlan:
    """Which rows a stage's batches are of."""
    return BatchPlan(made._pairs, made.run.recipe.stages[name].batch, made.run.recipe.seed, 0)


def steps(made: Trainer, name: str) -> Iterator[None]:
    """Takes a step of a stage each time it is asked."""
    stage, (_, step), rows = made.run.recipe.stages[name], made._build(name), plan(made, name)
    with made.run.engine.freed_memory_kept():
        for number in itertools.count():
            made._one_step(step, rows, stage, number)
            yield


def kept(made: Trainer, name: str) -> Iterator[None]:
    """Takes a step each time it is asked, always of the same batch, which lies ready."""
    _, step = made._build(name)
    batch = batch_of(made, name, step)
    while True:
        step(0, [lambda: batch])
        yield
