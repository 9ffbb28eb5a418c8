"""The seed's documented ladder on a pack of noise: training steps for the benchmarks.

Images are noise, which costs a network as much as faces do; labels and pairing are Multi-PIE's (9 poses, 20 lights).
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

from enface.data.pack import FORMAT, Fitted, Pack, PackInfo
from enface.data.pairs import BatchPlan, split_rows
from enface.recipe.load import load_recipe
from enface.system.malloc import freed_memory_kept
from enface.training.engine import Engine
from enface.training.run import Run
from enface.training.step import Step
from enface.training.trainer import Trainer
from reference import LIGHTS, POSES, boundary

RECIPE = Path(__file__).resolve().parents[1] / "recipes" / "seed" / "ladder.yaml"
RECORDINGS = 2


def noise_pack(images: int, size: int, pixels: npt.NDArray[np.uint8] | None = None) -> Pack:
    """Return a pack of noise with Multi-PIE's columns.

    Args:
        images: Number of images, rounded down to whole identities, at least two.
        pixels: Images to use, uint8 (N, size, size, 3), with N >= ``images``; default: noise in memory.
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
    info = PackInfo(
        format=FORMAT,
        dataset="noise",
        parameters={},
        size=(size, size),
        channels=3,
        depth=8,
        fit="crop",
        fitted=Fitted(images=0, mean=0, largest=0),
        digest="noise",
        images=len(table),
        columns={},
        region_names=[],
        skipped=[],
    )
    return Pack(Path(), pixels.transpose(0, 3, 1, 2), None, table, info)


def seed_trainer(pack: Pack, folder: Path, overrides: dict[str, Any]) -> Trainer:
    """Return a trainer of the documented ladder on a pack."""
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


def stage_batch(trainer: Trainer, name: str, step: Step, number: int = 0) -> dict[str, Tensor]:
    """Return the columns of batch ``number`` of a stage."""
    stage = trainer.run.recipe.stages[name]
    return trainer._parts(step.columns(step.phases), batch_plan(trainer, name), stage, number)[0]()


def batch_plan(trainer: Trainer, name: str) -> BatchPlan:
    """Return the plan of a stage's batches."""
    return BatchPlan(trainer._pairs, trainer.run.recipe.stages[name].batch, trainer.run.recipe.seed, 0)


def training_steps(trainer: Trainer, name: str) -> Iterator[None]:
    """Take one training step of a stage, its data included, at each ``next``."""
    stage, (_, step), plan = trainer.run.recipe.stages[name], trainer._build(name), batch_plan(trainer, name)
    with freed_memory_kept():
        for number in itertools.count():
            trainer._one_step(step, plan, stage, number)
            yield


def steps_on_one_batch(trainer: Trainer, name: str) -> Iterator[None]:
    """Take one training step at each ``next``, always on the same batch in memory."""
    _, step = trainer._build(name)
    batch = stage_batch(trainer, name, step)
    while True:
        step(0, [lambda: batch])
        yield
