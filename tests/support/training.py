"""Fixtures of the core's tests: recipes read, and one stage built on the toy pack, without the command line."""

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
    """One stage of a recipe, ready to take steps."""

    loaded: Any
    pack: Any
    engine: Any
    generator: Any
    columns: Any
    pairs: Any
    builder: Any
    step: Any

    def batch(self, number: int = 0, size: int = 4) -> dict[str, torch.Tensor]:
        """Every column that the batch of a step can give."""
        from enface.data.pairs import BatchPlan

        rows = BatchPlan(self.pairs, size, 0, 0).rows(number)
        return {name: self.columns.gather(name, rows) for name in self.columns.names}

    def parts(self, batch: dict[str, torch.Tensor], count: int = 1) -> list[Callable[[], dict[str, torch.Tensor]]]:
        """The columns the step asks for, in equal parts."""
        chunks = {name: batch[name].chunk(count) for name in self.step.columns(self.step.phases)}
        return [lambda i=i: {name: chunk[i] for name, chunk in chunks.items()} for i in range(count)]

    def __call__(self, batch: dict[str, torch.Tensor], *, number: int = 0, count: int = 1) -> dict[str, torch.Tensor]:
        return self.step(number, self.parts(batch, count))


@pytest.fixture
def load(recipe: Callable[..., Path]) -> Callable[..., Any]:
    """A recipe that extends the toy one, read and checked."""

    def read(content: dict[str, Any] | str = "", *overrides: str) -> Any:
        from enface.recipe.load import load_recipe

        return load_recipe(recipe(content or {}), overrides)

    return read


@pytest.fixture(scope="session")
def make_trainer() -> Callable[..., Any]:
    """A trainer of a recipe that has been read, in a new run directory: ``make_trainer(loaded, directory)``."""

    def make(loaded: Any, directory: Path, **options: Any) -> Any:
        from enface.data.pack import make_pack
        from enface.data.pairs import split_rows
        from enface.train.engine import Engine
        from enface.train.run import Run, start_directory
        from enface.train.trainer import Trainer

        pack = make_pack(loaded.recipe, loaded.catalog)
        directory.mkdir(parents=True)
        rows = split_rows(pack.table, loaded.recipe.data.split)
        run = Run(directory, loaded, Engine(loaded.recipe.engine), pack, rows)
        start_directory(run)
        return Trainer(run, **options)

    return make


@pytest.fixture
def new_trainer(load: Callable[..., Any], make_trainer: Callable[..., Any], tmp_path: Path) -> Callable[..., Any]:
    """A trainer on the CPU; the words are as for a recipe that extends the toy one."""

    def make(content: dict[str, Any], folder: str = "run") -> Any:
        return make_trainer(load({"engine": CPU, **content}), tmp_path / folder)

    return make


@pytest.fixture
def bench(load: Callable[..., Any]) -> Callable[..., Bench]:
    """Build one stage: ``bench({"terms": ...}, generator={"use": "unet"})``; it replaces the toy's."""

    def build(stage: dict[str, Any], **keys: Any) -> Bench:
        from enface.data.batches import Batches
        from enface.data.pack import make_pack
        from enface.data.pairs import split_rows
        from enface.train.build import StageBuilder, build_generator
        from enface.train.engine import Engine
        from enface.train.run import Run

        whole = {"steps": 5, "batch": 4, "optimizer": {"lr": 1e-3}, **stage}
        engine = {**CPU, **keys.pop("engine", {})}
        if "plugins" in keys:
            keys["plugins"] = [TOY if name == "TOY" else name for name in keys["plugins"]]
        loaded = load({"engine": engine, "stages": {"main": False, "one": whole}, **keys})
        made = Engine(loaded.recipe.engine)
        pack = make_pack(loaded.recipe, loaded.catalog)
        run = Run(Path(), loaded, made, pack, split_rows(pack.table, loaded.recipe.data.split))
        pairs = run.pairs("train")
        columns = Batches(pack, pairs.roles, made.device, run.info.size)
        generator = made.place(build_generator(loaded, run.info))
        builder = StageBuilder(loaded, "one", generator, run.info, columns.names, made)
        return Bench(loaded, pack, made, generator, columns, pairs, builder, builder.build())

    return build
