"""Many runs of one recipe: which there are to be, which are done, and running the others."""

from __future__ import annotations

import itertools
import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field, ValidationError, field_validator

from enface.errors import EnfaceError, RecipeError
from enface.plugin.catalog import Catalog
from enface.plugin.schema import explain
from enface.recipe.load import load_recipe, runs_in
from enface.recipe.models import Model, Name, Recipe, Spec
from enface.system.locks import LOCK_FILE, is_locked
from enface.system.processes import set_arguments
from enface_tools.sweep.base import Launcher

State = Literal["done", "running", "cut off", "new"]


class SweepModel(Model):
    """A sweep's file.

    Attributes:
        recipe: The recipe's path, from this file.
        name: What the runs' names begin with; the recipe's name unless given.
        seeds: Each variant is run with each of these.
        variants: By name, what each overrides: dotted keys and their values. One that overrides nothing is a control.
        grid: Dotted keys and the values each is to have; every combination is run, of every variant.
        launcher: Where: ``local``, ``ray``, ``slurm``, or one of these with its options.
    """

    recipe: str
    name: Name | None = None
    seeds: list[int] = Field([0], min_length=1)
    variants: dict[Name, dict[str, Any]] = Field(default_factory=dict)
    grid: dict[str, list[Any]] = Field(default_factory=dict)
    launcher: Spec = Field(default_factory=lambda: Spec(use="local"))

    @field_validator("launcher", mode="before")
    @classmethod
    def _named(cls, launcher: Any) -> Any:
        return {"use": launcher} if isinstance(launcher, str) else launcher

    @field_validator("seeds")
    @classmethod
    def _once(cls, seeds: list[int]) -> list[int]:
        if len(set(seeds)) < len(seeds):
            raise ValueError("a seed stands here twice")
        return seeds

    @field_validator("grid")
    @classmethod
    def _has_values(cls, grid: dict[str, list[Any]]) -> dict[str, list[Any]]:
        empty = [key for key, values in grid.items() if not values]
        if empty:
            raise ValueError(f"{empty[0]} has no value")
        return grid


@dataclass(frozen=True)
class Job:
    """One run that a sweep asks for.

    Attributes:
        overrides: As ``--set`` takes them.
        digest: Of what training depends on, the seed included.
    """

    name: str
    seed: int
    recipe: Path
    overrides: tuple[str, ...]
    digest: str

    @property
    def label(self) -> str:
        """How it is told of."""
        return f"{self.name} seed {self.seed}"

    def lock(self, runs: Path) -> Path:
        """A file whose lock the process has that runs it for a sweep, also before there is a directory."""
        return runs / "logs" / ".running" / self.digest

    def locks(self, runs: Path) -> list[Path]:
        """Files of which one is locked while a process trains it."""
        return [*(run / LOCK_FILE for run in self._same(runs)), self.lock(runs)]

    def find(self, runs: Path) -> tuple[State, Path | None]:
        """Whether a run of it is being trained, is done, or was cut off and can go on; and its directory."""
        same = self._same(runs)
        running = [run for run in same if is_locked(run / LOCK_FILE)]
        if running or is_locked(self.lock(runs)):
            return "running", running[-1] if running else None
        done = [run for run in same if (run / "evaluation" / "summary.json").is_file()]
        if done:
            return "done", done[-1]
        return ("cut off", same[-1]) if same else ("new", None)

    def _same(self, runs: Path) -> list[Path]:
        return [run for run in runs_in(runs / self.name) if _digest(run) == self.digest]

    def command(self, runs: Path) -> list[str]:
        """What runs it, or goes on with it."""
        state, directory = self.find(runs)
        words = [sys.executable, "-m", "enface", "run"]
        # One that is running is refused there, which is told as of any that fails; it is not trained twice.
        if directory is not None and state in ("cut off", "running"):
            return [*words, str(directory), "--resume"]
        return [*words, str(self.recipe), *set_arguments(self.overrides), "--runs", str(runs)]


def read_sweep(path: Path, launcher: str | None = None) -> tuple[list[Job], Launcher]:
    """The runs that a sweep's file asks for, each checked as ``enface check`` would; and what is to launch them.

    Raises:
        RecipeError: naming the file, and the key or the run that is wrong.
    """
    model = _model(path)
    recipe = (path.parent / model.recipe).resolve()
    loaded = load_recipe(recipe)
    base = model.name or loaded.recipe.name
    jobs = []
    for variant, changes in (model.variants or {"": {}}).items():
        for cell in _cells(model.grid):
            parts = (base, variant, *(_slug(key, value) for key, value in cell.items()))
            name = "-".join(part for part in parts if part)
            for seed in model.seeds:
                keys = {**changes, **cell, "name": name, "seed": seed}
                overrides = tuple(f"{key}={json.dumps(value)}" for key, value in keys.items())
                try:
                    found = load_recipe(recipe, overrides).recipe
                except RecipeError as error:
                    raise RecipeError(f"{path}: {name}: {error}") from error
                jobs.append(Job(name, seed, recipe, overrides, found.training_digest()))
    _refuse_equal(path, jobs)
    return jobs, _launcher(path, loaded.catalog, model.launcher, launcher)


def _model(path: Path) -> SweepModel:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RecipeError(f"sweep {path} cannot be read ({error.strerror or error})") from error
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise RecipeError(f"sweep {path} is no YAML: {str(error).splitlines()[0]}") from error
    if not isinstance(content, dict):
        raise RecipeError(f"sweep {path}: a sweep is a map of keys ({', '.join(SweepModel.model_fields)})")
    try:
        return SweepModel.model_validate(content)
    except ValidationError as error:
        told = []
        for item in error.errors():
            where, message = explain(item, SweepModel.model_fields)
            told.append(f"{path}: {'.'.join(map(str, where))}: {message}")
        raise RecipeError("\n".join(told)) from error


def _launcher(path: Path, catalog: Catalog, spec: Spec, name: str | None) -> Launcher:
    """Build the launcher of a sweep's file, or another one by its name."""
    if name is not None and name != spec.use:
        spec = Spec(use=name)
    try:
        launcher = catalog.build("launcher", spec.use, spec.params)
    except ValidationError as error:
        known = catalog.get("launcher", spec.use).params.model_fields
        problems = [explain(item, known) for item in error.errors()]
        lines = [f"{path}: {'.'.join(map(str, ('launcher', *where)))}: {message}" for where, message in problems]
        raise RecipeError("\n".join(lines)) from error
    except RecipeError as error:
        raise RecipeError(f"{path}: launcher: {error}") from error
    assert isinstance(launcher, Launcher)
    return launcher


def _cells(grid: Mapping[str, Sequence[Any]]) -> Iterator[dict[str, Any]]:
    for values in itertools.product(*grid.values()):
        yield dict(zip(grid, values, strict=True))


def _slug(key: str, value: Any) -> str:
    """A grid's key and value as a part of a run's name."""
    text = f"{key.rpartition('.')[2]}{value}"
    return re.sub(r"[^A-Za-z0-9_]+", "_", text).strip("_")


def _refuse_equal(path: Path, jobs: Sequence[Job]) -> None:
    seen: dict[str, Job] = {}
    for job in jobs:
        # The name is no part of what training depends on, so two variants that train alike have one digest.
        if job.digest in seen:
            first = seen[job.digest].label
            raise RecipeError(f"{path}: {first} and {job.label} would train alike; leave one out")
        seen[job.digest] = job


def _digest(run: Path) -> str | None:
    try:
        content = yaml.safe_load((run / "recipe.yaml").read_text(encoding="utf-8"))
        return Recipe.model_validate(content).training_digest()
    except (OSError, ValueError, yaml.YAMLError):
        # What cannot be read is no run of ours to go on with.
        return None


def require_folder(path: Path) -> None:
    """Raises EnfaceError when something that is no folder is in the way."""
    if path.exists() and not path.is_dir():
        raise EnfaceError(f"{path} is not a folder; name another with --runs")
