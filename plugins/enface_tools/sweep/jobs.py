"""Sweep files, and the jobs they define: runs that are new, interrupted, running or done."""

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
from enface.recipe.files import runs_in
from enface.recipe.load import load_recipe
from enface.recipe.models import Model, Name, Recipe, Spec
from enface.system.locks import LOCK_FILE
from enface.system.processes import set_arguments
from enface_tools.evaluate.splits import Split, is_evaluated, no_people, without_validation
from enface_tools.runs.locks import is_locked
from enface_tools.sweep.base import Launcher

COMMON = ("evaluation.split", "name", "seed")
"""Keys that a sweep sets for every run."""
State = Literal["done", "running", "cut off", "new"]


class SweepModel(Model):
    """A sweep file.

    Attributes:
        recipe: Path of the recipe, relative to this file.
        name: Prefix of the runs' names; default: the recipe's name.
        seeds: Seeds with which each variant is run.
        variants: Overrides of each variant by name: dotted keys and their values. A variant without overrides is a
            control.
        grid: Dotted keys and the values of each; every combination is run for every variant.
        launcher: Name of a launcher (``local``, ``ray``, ``slurm``), or a map with its options.
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
            raise ValueError("a seed is listed twice")
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
    """One run of a sweep.

    Attributes:
        overrides: Overrides in the form of ``--set``.
        digest: Digest of everything that training depends on, the seed included.
    """

    name: str
    seed: int
    recipe: Path
    overrides: tuple[str, ...]
    digest: str

    @property
    def changes(self) -> list[str]:
        """The overrides that its variant and cell of the grid make."""
        return [item for item in self.overrides if item.partition("=")[0] not in COMMON]

    @property
    def label(self) -> str:
        """Name and seed, for messages."""
        return f"{self.name} seed {self.seed}"

    def lock(self, runs: Path) -> Path:
        """Lock file that is held by a sweep's process of the job, even before the run has a directory."""
        return runs / "logs" / ".running" / self.digest

    def locks(self, runs: Path) -> list[Path]:
        """Lock files, of which one is held while any process trains the job."""
        return [*(run / LOCK_FILE for run in self._matching_runs(runs)), self.lock(runs)]

    def find(self, runs: Path) -> tuple[State, Path | None]:
        """Return the state of the job and the directory of its run, if there is one."""
        matching = self._matching_runs(runs)
        running = [run for run in matching if is_locked(run / LOCK_FILE)]
        if running or is_locked(self.lock(runs)):
            return "running", running[-1] if running else None
        done = [run for run in matching if is_evaluated(run)]
        if done:
            return "done", done[-1]
        return ("cut off", matching[-1]) if matching else ("new", None)

    def _matching_runs(self, runs: Path) -> list[Path]:
        return [run for run in runs_in(runs / self.name) if _digest(run) == self.digest]

    def command(self, runs: Path) -> list[str]:
        """Return the command that starts or resumes the run."""
        state, directory = self.find(runs)
        command = [sys.executable, "-m", "enface", "run"]
        # The command refuses a run that another process trains, so it counts as failed and is not trained twice.
        if directory is not None and state in ("cut off", "running"):
            return [*command, str(directory), "--resume"]
        return [*command, str(self.recipe), *set_arguments(self.overrides), "--runs", str(runs)]


def read_sweep(path: Path, launcher: str | None = None, split: Split = "val") -> tuple[list[Job], Launcher]:
    """Read a sweep file: its jobs, whose recipes are all checked, and its launcher.

    Args:
        launcher: Name of another launcher to use, with its default options.
        split: The people that every run is measured on at its end.

    Raises:
        RecipeError: if a key, a recipe or the launcher is invalid, naming the file and the key or job; if the runs are
            to be measured on validation people and a recipe has none.
    """
    model = _model(path)
    recipe = (path.parent / model.recipe).resolve()
    base = model.name or load_recipe(recipe).recipe.name
    jobs = []
    for variant, changes in (model.variants or {"": {}}).items():
        for cell in _cells(model.grid):
            parts = (base, variant, *(_slug(key, value) for key, value in cell.items()))
            name = "-".join(part for part in parts if part)
            for seed in model.seeds:
                keys = {"evaluation.split": split, **changes, **cell, "name": name, "seed": seed}
                overrides = tuple(f"{key}={json.dumps(value)}" for key, value in keys.items())
                try:
                    loaded = load_recipe(recipe, overrides)
                except RecipeError as error:
                    raise RecipeError(f"{path}: {name}: {error}") from error
                if split == "val" and without_validation(loaded.recipe.dump()):
                    raise RecipeError(f"{path}: {no_people(name)}")
                jobs.append(Job(name, seed, recipe, overrides, loaded.recipe.training_digest()))
    _refuse_equal(path, jobs)
    # All runs are of one recipe, so any of them knows the launchers of its plugins.
    return jobs, _launcher(path, loaded.catalog, model.launcher, launcher)


def _model(path: Path) -> SweepModel:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RecipeError(f"cannot read sweep {path} ({error.strerror or error})") from error
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise RecipeError(f"sweep {path} is not YAML: {str(error).splitlines()[0]}") from error
    if not isinstance(content, dict):
        raise RecipeError(f"sweep {path}: a sweep is a map of keys ({', '.join(SweepModel.model_fields)})")
    try:
        return SweepModel.model_validate(content)
    except ValidationError as error:
        lines = []
        for item in error.errors():
            where, message = explain(item, SweepModel.model_fields)
            lines.append(f"{path}: {'.'.join(map(str, where))}: {message}")
        raise RecipeError("\n".join(lines)) from error


def _launcher(path: Path, catalog: Catalog, spec: Spec, name: str | None) -> Launcher:
    """Build the launcher of a sweep file, or another one by its name."""
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
    """A key and value of the grid, as part of a run's name."""
    text = f"{key.rpartition('.')[2]}{value}"
    return re.sub(r"[^A-Za-z0-9_]+", "_", text).strip("_")


def _refuse_equal(path: Path, jobs: Sequence[Job]) -> None:
    seen: dict[str, Job] = {}
    for job in jobs:
        # The digest does not depend on the name, so equal variants have the same digest.
        if job.digest in seen:
            first = seen[job.digest].label
            raise RecipeError(f"{path}: {first} and {job.label} are the same training; remove one")
        seen[job.digest] = job


def _digest(run: Path) -> str | None:
    try:
        content = yaml.safe_load((run / "recipe.yaml").read_text(encoding="utf-8"))
        return Recipe.model_validate(content).training_digest()
    except (OSError, ValueError, yaml.YAMLError):
        # An unreadable recipe is not one of this sweep's runs.
        return None


def require_folder(path: Path) -> None:
    """Raise EnfaceError if the path exists and is not a folder."""
    if path.exists() and not path.is_dir():
        raise EnfaceError(f"{path} is not a folder; name another with --runs")
