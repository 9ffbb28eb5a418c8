"""Many runs of one recipe: which there are to be, which are done, and running the others."""

from __future__ import annotations

import itertools
import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from annotated_types import Ge, Gt
from pydantic import Field, ValidationError, field_validator, model_validator

from enface.errors import EnfaceError, RecipeError
from enface.plugin.schema import closest, explain
from enface.recipe.load import load_recipe, runs_in
from enface.recipe.models import Model, Name, Recipe
from enface.system.locks import LOCK, is_held
from enface.system.processes import set_words

State = Literal["done", "running", "cut off", "new"]


class LocalModel(Model):
    """On this machine."""

    use: Literal["local"] = "local"


class RayModel(Model):
    """On a Ray cluster.

    Attributes:
        address: The cluster's; what RAY_ADDRESS says unless given, and without that a cluster of this machine alone.
        cpus: Cores that each run needs.
        gpus: GPUs that each run needs, or a part of one; one where the cluster has any, unless given.
    """

    use: Literal["ray"]
    address: str | None = None
    cpus: Annotated[float, Gt(0)] = 1
    gpus: Annotated[float, Ge(0)] | None = None


class SlurmModel(Model):
    """On a Slurm cluster, by submitit.

    Attributes:
        cluster: ``local`` tries it without Slurm, by submitit's own executor.
        hours: What each run may take before it saves and is queued again.
        partition: Where; Slurm's default unless given.
        gpus: GPUs that each run needs.
        cpus: Cores that each run needs.
        memory: In GB.
        requeues: How often a run may be queued again because its time was over.
        detach: Submit and end; the same command later says what became of it.
        parameters: Further ones of sbatch, in submitit's names without ``slurm_``, as ``{account: faces}``.
    """

    use: Literal["slurm"]
    cluster: Literal["slurm", "local"] = "slurm"
    hours: Annotated[float, Gt(0)] = 24
    partition: str | None = None
    gpus: Annotated[int, Ge(0)] = 0
    cpus: Annotated[int, Ge(1)] | None = None
    memory: Annotated[float, Gt(0)] | None = None
    requeues: Annotated[int, Ge(0)] = 100
    detach: bool = False
    parameters: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _can_be_asked_later(self) -> SlurmModel:
        if self.detach and self.cluster == "local":
            raise ValueError("detach: with 'cluster: local' nobody could be asked later what became of a run")
        return self


LauncherModel = LocalModel | RayModel | SlurmModel
LAUNCHERS: dict[str, type[LauncherModel]] = {"local": LocalModel, "ray": RayModel, "slurm": SlurmModel}


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
    launcher: LauncherModel = Field(default_factory=LocalModel, discriminator="use")

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
        return [*(run / LOCK for run in self._same(runs)), self.lock(runs)]

    def find(self, runs: Path) -> tuple[State, Path | None]:
        """Whether a run of it is being trained, is done, or was cut off and can go on; and its directory."""
        same = self._same(runs)
        running = [run for run in same if is_held(run / LOCK)]
        if running or is_held(self.lock(runs)):
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
        return [*words, str(self.recipe), *set_words(self.overrides), "--runs", str(runs)]


def read_sweep(path: Path) -> tuple[list[Job], LauncherModel]:
    """The runs that a sweep's file asks for, each checked as ``enface check`` would; and what is to launch them.

    Raises:
        RecipeError: naming the file, and the key or the run that is wrong.
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
                keys = {**changes, **cell, "name": name, "seed": seed}
                overrides = tuple(f"{key}={json.dumps(value)}" for key, value in keys.items())
                try:
                    found = load_recipe(recipe, overrides).recipe
                except RecipeError as error:
                    raise RecipeError(f"{path}: {name}: {error}") from error
                jobs.append(Job(name, seed, recipe, overrides, found.training_digest()))
    _refuse_equal(path, jobs)
    return jobs, model.launcher


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
            where, message = explain(item, _known(item["loc"]))
            told.append(f"{path}: {'.'.join(map(str, where))}: {message}")
        raise RecipeError("\n".join(told)) from error


def _known(where: tuple[str | int, ...]) -> list[str]:
    """The keys that could stand at a place of a sweep's file."""
    launcher = LAUNCHERS.get(str(where[1])) if where[0] == "launcher" and len(where) > 2 else None
    return list((launcher or SweepModel).model_fields)


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


def launcher_named(name: str, given: LauncherModel) -> LauncherModel:
    """A launcher by its name, with the options of the one that a file gives where it is the same.

    Raises:
        RecipeError: when there is none of that name.
    """
    if name not in LAUNCHERS:
        raise RecipeError(f"there is no launcher {name!r}{closest(name, LAUNCHERS)}; there are {', '.join(LAUNCHERS)}")
    return given if given.use == name else LAUNCHERS[name].model_validate({"use": name})


def require_folder(path: Path) -> None:
    """Raises EnfaceError when something that is no folder is in the way."""
    if path.exists() and not path.is_dir():
        raise EnfaceError(f"{path} is not a folder; name another with --runs")
