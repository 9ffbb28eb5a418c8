"""Many runs of one recipe: which there are to be, which are done, and running the others."""

from __future__ import annotations

import itertools
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field, ValidationError, field_validator

from enface.errors import EnfaceError, RecipeError
from enface.loading import load_recipe, runs_in
from enface.params import explain
from enface.recipe import Model, Name, Recipe

State = Literal["done", "cut off", "new"]
POLL = 0.2
SHOWN_LINES = 15


class SweepModel(Model):
    """A sweep's file.

    Attributes:
        recipe: The recipe's path, from this file.
        name: What the runs' names begin with; the recipe's name unless given.
        seeds: Each variant is run with each of these.
        variants: By name, what each overrides: dotted keys and their values. One that overrides nothing is a control.
        grid: Dotted keys and the values each is to have; every combination is run, of every variant.
    """

    recipe: str
    name: Name | None = None
    seeds: list[int] = Field([0], min_length=1)
    variants: dict[Name, dict[str, Any]] = Field(default_factory=dict)
    grid: dict[str, list[Any]] = Field(default_factory=dict)

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

    def find(self, runs: Path) -> tuple[State, Path | None]:
        """Whether a run of it is done, or was cut off and can go on; and its directory."""
        same = [run for run in runs_in(runs / self.name) if _digest(run) == self.digest]
        done = [run for run in same if (run / "evaluation" / "summary.json").is_file()]
        if done:
            return "done", done[-1]
        return ("cut off", same[-1]) if same else ("new", None)

    def command(self, runs: Path) -> list[str]:
        """What runs it, or goes on with it."""
        state, directory = self.find(runs)
        words = [sys.executable, "-m", "enface", "run"]
        if state == "cut off":
            return [*words, str(directory), "--resume"]
        sets = (word for item in self.overrides for word in ("--set", item))
        return [*words, str(self.recipe), *sets, "--runs", str(runs)]


def read_sweep(path: Path) -> list[Job]:
    """The runs that a sweep's file asks for, each checked as ``enface check`` would.

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
    return jobs


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
            where, message = explain(item, list(SweepModel.model_fields))
            told.append(f"{path}: {'.'.join(map(str, where))}: {message}")
        raise RecipeError("\n".join(told)) from error


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


# ---------------------------------------------------------------------- running


@dataclass
class _Running:
    job: Job
    process: subprocess.Popen[bytes]
    log: Path
    since: float
    device: int | None


class Stopped(Exception):
    """The sweep was asked to stop; what ran has saved itself."""


class Local:
    """Runs jobs on this machine, some at a time, each in a process of its own.

    Args:
        at_once: How many at a time.
        logs: A folder for what each says.
        devices: CUDA devices to share out, one a job; empty for what each finds by itself.
        say: Told what happens, a line at a time.
    """

    def __init__(
        self,
        at_once: int,
        logs: Path,
        devices: Sequence[int] = (),
        say: Callable[[str], None] = print,
    ) -> None:
        self._at_once, self._logs, self._devices, self._say = at_once, logs, list(devices), say

    def __call__(self, jobs: Sequence[Job], runs: Path) -> list[Job]:
        """Run them all; one that fails does not stop the others.

        Returns:
            Those that failed.

        Raises:
            Stopped: after SIGINT or SIGTERM, when every running one has saved and ended.
        """
        self._logs.mkdir(parents=True, exist_ok=True)
        waiting, running, failed = list(jobs), list[_Running](), list[Job]()
        before = {number: signal.signal(number, _stop) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            while waiting or running:
                while waiting and len(running) < self._at_once:
                    running.append(self._start(waiting.pop(0), runs, running))
                time.sleep(POLL)
                for item in [item for item in running if item.process.poll() is not None]:
                    running.remove(item)
                    if not self._ended(item):
                        failed.append(item.job)
        except Stopped:
            for item in running:
                item.process.send_signal(signal.SIGINT)
            for item in running:
                item.process.wait()
                self._say(f"{item.job.label}: stopped; it is saved")
            raise
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
        return failed

    def _start(self, job: Job, runs: Path, running: Sequence[_Running]) -> _Running:
        log = self._logs / f"{job.name}-{job.seed}.log"
        environment = dict(os.environ)
        if self._at_once > 1:
            environment.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // self._at_once)))
        device = self._least_taken(running)
        if device is not None:
            environment["CUDA_VISIBLE_DEVICES"] = str(device)
        state, directory = job.find(runs)
        self._say(f"{job.label}: {'goes on with ' + str(directory) if state == 'cut off' else 'starts'} ({log})")
        with log.open("ab") as file:
            # In a session of its own, so that Ctrl-C reaches it once, from here.
            process = subprocess.Popen(
                job.command(runs), stdout=file, stderr=subprocess.STDOUT, env=environment, start_new_session=True
            )
        return _Running(job, process, log, time.monotonic(), device)

    def _least_taken(self, running: Sequence[_Running]) -> int | None:
        taken = [item.device for item in running]
        return min(self._devices, key=taken.count, default=None)

    def _ended(self, item: _Running) -> bool:
        seconds = time.monotonic() - item.since
        if item.process.returncode == 0:
            self._say(f"{item.job.label}: done in {seconds:.0f} s")
            return True
        lines = item.log.read_text(encoding="utf-8", errors="replace").splitlines()[-SHOWN_LINES:]
        self._say(f"{item.job.label}: failed (exit code {item.process.returncode}); {item.log} ends:")
        for line in lines:
            self._say(f"  {line}")
        return False


def _stop(number: int, frame: Any) -> None:
    raise Stopped


def cuda_devices() -> list[int]:
    """The CUDA devices to share out: all, where there are several."""
    import torch

    count = torch.cuda.device_count()
    return list(range(count)) if count > 1 else []


def require_folder(path: Path) -> None:
    """Raises EnfaceError when something that is no folder is in the way."""
    if path.exists() and not path.is_dir():
        raise EnfaceError(f"{path} is not a folder; name another with --runs")
