"""Progress of a run that trains: its step, the total, and the time left."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import yaml

from enface_tools.report.curves import Log, read_log
from enface_tools.report.files import FolderReader


@dataclass(frozen=True)
class Progress:
    """Progress of a run.

    Attributes:
        step, total: Last logged step, and steps of all stages.
        seconds_left: At the pace of the current stage so far; None before its first logged step.
    """

    step: int
    total: int
    stage: str
    seconds_left: float | None

    @property
    def text(self) -> str:
        """Step, total and time left."""
        left = "time left unknown before the first logged step"
        if self.seconds_left is not None:
            left = f"about {duration(self.seconds_left)} left"
        return f"step {self.step:,} of {self.total:,}, {left}"


def progress_of(log: Log, recipe: str) -> Progress | None:
    """Progress by a log and a resolved recipe; None if the recipe has no stages."""
    try:
        total = sum(int(stage["steps"]) for stage in yaml.safe_load(recipe)["stages"].values())
    except (yaml.YAMLError, RecursionError, TypeError, KeyError, ValueError, AttributeError):
        return None
    (begun, first), (now, step) = (log.pace[0], log.pace[-1]) if log.pace else ((0.0, 0), (0.0, log.last_step))
    pace = (now - begun) / (step - first) if step > first else None
    left = None if pace is None else max(pace * (total - step), 0.0)
    return Progress(step, total, log.stages[-1][0] if log.stages else "", left)


def read_progress(run: Path) -> Progress | None:
    """Progress of a run directory."""
    reader = FolderReader(run)
    return progress_of(read_log(reader.text("log.jsonl")), reader.text("recipe.yaml"))


def duration(seconds: float) -> str:
    """A time as text, in two units at most."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
