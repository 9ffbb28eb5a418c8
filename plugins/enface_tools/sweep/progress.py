"""Progress of a sweep, and the table of its runs at the end."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from enface.cli.options import say
from enface.system.messages import duration
from enface_tools.evaluate.splits import Split
from enface_tools.evaluate.terminal import styled, table, wrapped
from enface_tools.runs.records import RunRecord, read_record
from enface_tools.runs.table import metric_cells, shown_metrics, state_cell, step_of
from enface_tools.sweep.jobs import Job

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID
    from rich.text import Text

REFRESH = 2.0
"""Seconds between two looks at the logs of running jobs."""
QUIET_SECONDS = 60.0
"""Seconds between two lines if the output is no terminal."""


class SweepProgress:
    """Runs done of all, and the step of each running one: bars on a terminal, elsewhere a line a minute.

    Args:
        done: Runs that were done before.
        total: All runs of the sweep.
    """

    def __init__(self, runs: Path, done: int, total: int) -> None:
        self._runs, self._before, self._total = runs, done, total
        self._bars = _bars()
        self._all = self._bars.add_task("runs", total=total, completed=done, left="")
        self._tasks: dict[Job, TaskID] = {}
        self._directories: dict[Job, Path] = {}
        self._looked = 0.0
        self._spoke = time.monotonic()

    def __enter__(self) -> SweepProgress:
        if self._bars.console.is_terminal:
            self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bars.live.is_started:
            self._bars.stop()

    def say(self, text: str) -> None:
        """Print text above the bars, wrapped between words."""
        text = wrapped(text, "  ")
        if self._bars.live.is_started:
            self._bars.console.print(text, markup=False, highlight=False, soft_wrap=True)
        else:
            say(text)

    def update(self, running: Sequence[Job], ended: int) -> None:
        """Show running jobs; ``ended`` jobs of this sweep have ended. Reads their logs every few seconds."""
        now = time.monotonic()
        if now - self._looked < REFRESH:
            return
        self._looked = now
        records = {job: self._record(job) for job in running}
        if self._bars.live.is_started:
            self._draw(records, ended)
        elif now - self._spoke > QUIET_SECONDS:
            self._spoke = now
            steps = [f"{job.label} {step_of(record) if record else 'waits'}" for job, record in records.items()]
            say(f"{self._before + ended} of {self._total} runs have ended; {', '.join(steps)}")

    def _draw(self, records: dict[Job, RunRecord | None], ended: int) -> None:
        self._bars.update(self._all, completed=self._before + ended)
        for job in [job for job in self._tasks if job not in records]:
            self._bars.remove_task(self._tasks.pop(job))
        for job, record in records.items():
            if job not in self._tasks:
                self._tasks[job] = self._bars.add_task(job.label, total=None, left="waits")
            if record is not None:
                self._bars.update(self._tasks[job], completed=record.step, total=record.steps, left=_left(record))

    def _record(self, job: Job) -> RunRecord | None:
        """The run of a job; None while it has none."""
        if job not in self._directories:
            state, directory = job.find(self._runs)
            if directory is None or state != "running":
                return None
            self._directories[job] = directory
        return read_record(self._directories[job])


def _left(record: RunRecord) -> str:
    if not record.step or record.steps is None or record.seconds is None:
        return ""
    if record.step >= record.steps:
        return "evaluates"
    return f"{duration(record.seconds / record.step * (record.steps - record.step))} left"


def _bars() -> Progress:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    from rich.table import Column

    return Progress(
        TextColumn("{task.description}", markup=False, table_column=Column(ratio=1, no_wrap=True)),
        BarColumn(bar_width=16),
        MofNCompleteColumn(),
        TextColumn("{task.fields[left]}"),
        expand=True,
        transient=True,
    )


def table_of_jobs(jobs: Sequence[Job], failed: Collection[Job], runs: Path, split: Split) -> str:
    """Return a table with a row per run of a sweep."""
    states = {job: job.find(runs) for job in jobs}
    records = {job: read_record(directory) for job, (_, directory) in states.items() if directory is not None}
    metrics = shown_metrics(records.values(), split)
    rows: list[tuple[str | Text, ...]] = []
    for job in jobs:
        record = records.get(job)
        state: str | Text = states[job][0] if record is None else state_cell(record.state)
        rows.append(
            (
                job.label,
                styled("failed", "red") if job in failed else state,
                "" if record is None else step_of(record),
                *(["-"] * len(metrics) if record is None else metric_cells(record, metrics, split)),
                "" if record is None or record.seconds is None else duration(record.seconds),
                " ".join(job.changes),
            )
        )
    heads = ("run", "state", "step", *metrics, "time", "set")
    return table(heads, rows, left=("state",), prose=True, drop=("set", "step", "time"))
