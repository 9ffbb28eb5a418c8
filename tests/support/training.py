"""Fixtures of the core's tests: loaded recipes, and one stage built on the toy pack, without the command line."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

TOY = str(Path(__file__).parents[1] / "support" / "toy_faces.py")
CPU = {"device": "cpu", "precision": "fp32"}


@dataclass
class Bench:
    """A stage of a recipe, ready to take steps."""

    loaded: Any
    pack: Any
    engine: Any
    generator: Any
    columns: Any
    pairs: Any
    builder: Any
    step: Any

    def batch(self, number: int = 0, size: int = 4) -> dict[str, torch.Tensor]:
        """All columns that the batch of a step can provide."""
        from enface.data.pairs import BatchPlan

        rows = BatchPlan(self.pairs, size, 0, 0).rows(number)
        return {name: self.columns.gather(name, rows) for name in self.columns.names}

    def parts(self, batch: dict[str, torch.Tensor], count: int = 1) -> list[Callable[[], dict[str, torch.Tensor]]]:
        """The columns that the step requests, in equal parts."""
        chunks = {name: batch[name].chunk(count) for name in self.step.columns(self.step.phases)}
        return [lambda i=i: {name: chunk[i] for name, chunk in chunks.items()} for i in range(count)]

    def __call__(self, batch: dict[str, torch.Tensor], *, number: int = 0, count: int = 1) -> dict[str, torch.Tensor]:
        return self.step(number, self.parts(batch, count))


@pytest.fixture
def load(recipe: Callable[..., Path]) -> Callable[..., Any]:
    """Load a recipe that extends the toy recipe."""

    def read(content: dict[str, Any] | str = "", *overrides: str) -> Any:
        from enface.recipe.load import load_recipe

        return load_recipe(recipe(content or {}), overrides)

    return read


@pytest.fixture(scope="session")
def make_trainer() -> Callable[..., Any]:
    """Build the trainer of a loaded recipe in a new run directory: ``make_trainer(loaded, directory)``."""

    def make(loaded: Any, directory: Path, **options: Any) -> Any:
        from enface.data.pairs import split_rows
        from enface.training.engine import Engine
        from enface.training.run import Run, start_directory
        from enface.training.trainer import Trainer
        from enface_tools.packs.building import make_pack

        pack = make_pack(loaded.recipe, loaded.catalog)
        directory.mkdir(parents=True)
        rows = split_rows(pack.table, loaded.recipe.data.split)
        run = Run(directory, loaded, Engine(loaded.recipe.engine), pack, rows)
        start_directory(run)
        return Trainer(run, **options)

    return make


@pytest.fixture
def new_trainer(load: Callable[..., Any], make_trainer: Callable[..., Any], tmp_path: Path) -> Callable[..., Any]:
    """Build a trainer on the CPU for a recipe that extends the toy recipe."""

    def make(content: dict[str, Any], folder: str = "run") -> Any:
        return make_trainer(load({"engine": CPU, **content}), tmp_path / folder)

    return make


@pytest.fixture
def bench(load: Callable[..., Any]) -> Callable[..., Bench]:
    """Build one stage: ``bench({"terms": ...}, generator={"use": "unet"})``; it replaces those of the toy recipe."""

    def build(stage: dict[str, Any], **keys: Any) -> Bench:
        from enface.data.batches import Batches
        from enface.data.pairs import split_rows
        from enface.training.build import StageBuilder, build_generator
        from enface.training.engine import Engine
        from enface.training.run import Run
        from enface_tools.packs.building import make_pack

        whole = {"steps": 5, "batch": 4, "optimizer": {"lr": 1e-3}, **stage}
        engine_keys = {**CPU, **keys.pop("engine", {})}
        if "plugins" in keys:
            keys["plugins"] = [TOY if name == "TOY" else name for name in keys["plugins"]]
        loaded = load({"engine": engine_keys, "stages": {"main": False, "one": whole}, **keys})
        engine = Engine(loaded.recipe.engine)
        pack = make_pack(loaded.recipe, loaded.catalog)
        run = Run(Path(), loaded, engine, pack, split_rows(pack.table, loaded.recipe.data.split))
        pairs = run.pairs("train")
        columns = Batches(pack, pairs.roles, engine.device, run.info.size)
        generator = engine.place(build_generator(loaded, run.info))
        builder = StageBuilder(loaded, "one", generator, run.info, columns.names, engine)
        return Bench(loaded, pack, engine, generator, columns, pairs, builder, builder.build())

    return build
