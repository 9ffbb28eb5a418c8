"""Runs on disk: their state, progress and evaluations. Nothing here imports torch, so that hundreds are read fast."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field

from enface.errors import DataError
from enface.system.locks import LOCK_FILE
from enface_tools.evaluate.models import FileModel, MetricSummary, SetMetricSummary, parse
from enface_tools.evaluate.splits import Split, evaluation_folder
from enface_tools.runs.locks import is_locked

State = Literal["training", "finished", "interrupted", "failed", "died", "damaged"]
STATES = {
    "training": "a process holds the run's lock",
    "finished": "trained and evaluated",
    "interrupted": "stopped by a signal; everything is saved",
    "failed": "stopped by a non-finite loss",
    "died": "ended without a word: killed, or by an error",
    "damaged": "the recipe cannot be read",
}
TAIL = 1 << 16
"""Bytes at the end of a log that are read: a few hundred entries."""
AFTERWARDS = ("evaluated", "reported")
"""Events that may follow the end of a run, of any state."""
ENDINGS: dict[str, State] = {"interrupted": "interrupted", "non_finite": "failed"}
# The parser in C is eight times as fast.
Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class Evaluation(FileModel):
    """The parts of ``summary.json`` that a table of runs needs."""

    metrics: dict[str, MetricSummary]
    sets: dict[str, SetMetricSummary] = Field(default_factory=dict)
    images: int
    identities: int

    def info(self, name: str) -> MetricSummary | SetMetricSummary | None:
        """A metric by its name; None if it was not measured."""
        return self.metrics.get(name) or self.sets.get(name)

    def value(self, name: str) -> float | None:
        """The mean of a metric, or the number of a set metric; None if it is undefined or was not measured."""
        if name in self.metrics:
            return self.metrics[name].mean
        return self.sets[name].value if name in self.sets else None

    def score(self, name: str) -> float | None:
        """A number that is higher if the metric is better; None without a value."""
        if name in self.metrics and self.metrics[name].distances:
            distance = self.metrics[name].compared()
            return None if distance is None else -distance
        info, value = self.info(name), self.value(name)
        return None if info is None or value is None else info.direction.score(value)

    @property
    def names(self) -> list[str]:
        """Names of the metrics."""
        return [*self.metrics, *self.sets]


@dataclass(frozen=True)
class RunRecord:
    """A run directory, as its files describe it.

    Attributes:
        step: Completed steps.
        steps: Steps of all stages; None if the recipe cannot be read.
        seconds: Time from the first entry of the log to the end of training, or to now; None without a log.
        best: The metric that ``log.best`` names.
    """

    directory: Path
    state: State
    step: int = 0
    steps: int | None = None
    started: float | None = None
    seconds: float | None = None
    best: str | None = None
    _evaluations: dict[str, Evaluation | None] = field(default_factory=dict, compare=False, repr=False)

    @property
    def name(self) -> str:
        """Name of the recipe: the folder of its runs."""
        return self.directory.parent.name

    @property
    def id(self) -> str:
        """Name of the run directory: the time of its start."""
        return self.directory.name

    def evaluation(self, split: Split) -> Evaluation | None:
        """The evaluation of a split; None without one, or if it cannot be read."""
        if split not in self._evaluations:
            self._evaluations[split] = _read_evaluation(evaluation_folder(self.directory, split) / "summary.json")
        return self._evaluations[split]


@dataclass(frozen=True)
class _Log:
    """The first entry of a log, and its last ones."""

    first: dict[str, Any]
    last: list[dict[str, Any]]

    @cached_property
    def of_training(self) -> dict[str, Any] | None:
        """The last entry that is not of an evaluation; None if the tail has none."""
        return next((entry for entry in reversed(self.last) if entry["event"] not in AFTERWARDS), None)

    def evaluated(self, split: str) -> bool:
        """True if a split was evaluated after the last entry of training."""
        for entry in reversed(self.last):
            if entry["event"] not in AFTERWARDS:
                return False
            if entry["event"] == "evaluated" and entry.get("split") == split:
                return True
        return False


def run_directories(runs: Path, name: str = "*") -> list[Path]:
    """Return the run directories ``RUNS/NAME/ID``, from the oldest to the newest.

    Args:
        name: A name or a pattern of names, as ``ladder-*``.
    """
    directories = (path.parent for path in runs.glob(f"{name}/*/recipe.yaml"))
    return sorted(directories, key=lambda path: (path.name, path.parent.name))


def read_records(directories: Iterable[Path]) -> list[RunRecord]:
    """Read run directories."""
    return [read_record(directory) for directory in directories]


def read_record(directory: Path) -> RunRecord:
    """Read a run directory."""
    training = is_locked(directory / LOCK_FILE)
    log = _read_log(directory / "log.jsonl")
    try:
        recipe = yaml.load((directory / "recipe.yaml").read_text(encoding="utf-8"), Loader)
        steps = sum(int(stage["steps"]) for stage in recipe["stages"].values())
        best = (recipe.get("log") or {}).get("best")
        split = (recipe.get("evaluation") or {}).get("split", "test")
    except (OSError, ValueError, TypeError, KeyError, AttributeError, yaml.YAMLError):
        return RunRecord(directory, "damaged")
    if log is None:
        return RunRecord(directory, "training" if training else "died", 0, steps, best=best)
    end = log.of_training
    last = end or log.last[-1]
    state = "training" if training else _state(log, split, steps)
    until = time.time() if training else last["time"]
    return RunRecord(
        directory,
        state,
        last["step"],
        steps,
        log.first["time"],
        until - log.first["time"],
        None if best is None else str(best),
    )


def _state(log: _Log, split: str, steps: int) -> State:
    """The state of a run that no process trains."""
    end = log.of_training
    if end is None:
        # So many evaluations that the end of training is out of sight.
        return "finished" if log.last[-1]["step"] >= steps else "died"
    if end["event"] == "trained":
        return "finished" if log.evaluated(split) else "died"
    return ENDINGS.get(end["event"], "died")


def _read_log(path: Path) -> _Log | None:
    """Read both ends of a log; None if it has no entry."""
    try:
        with path.open("rb") as file:
            first = file.readline()
            size = file.seek(0, 2)
            file.seek(max(size - TAIL, 0))
            lines = file.read().splitlines()
    except OSError:
        return None
    start, *_ = [*_entries([first]), None]
    last = list(_entries(lines))
    return None if start is None or not last else _Log(start, last)


def _entries(lines: Sequence[bytes]) -> Iterable[dict[str, Any]]:
    for line in lines:
        try:
            entry = json.loads(line)
            if isinstance(entry["step"], int) and isinstance(entry["event"], str) and entry["time"] + 0 > 0:
                yield entry
        except (ValueError, TypeError, KeyError):
            # The first line of the tail begins anywhere; a killed run may leave half a line.
            continue


def _read_evaluation(path: Path) -> Evaluation | None:
    try:
        return parse(path.read_text(encoding="utf-8"), Evaluation, str(path))
    except (OSError, ValueError, DataError):
        return None


def choice_split(records: Iterable[RunRecord]) -> Split:
    """The split to choose runs by: ``val``, or ``test`` if no run has measured validation people."""
    records = list(records)
    if any(record.evaluation("val") for record in records) or not any(record.evaluation("test") for record in records):
        return "val"
    return "test"
