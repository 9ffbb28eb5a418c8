"""Progress bar on the terminal: steps, images per second, remaining time, and the value of each term."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from enface import duration, hookimpl

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID
    from torch import nn

    from enface import Run

SHOWN = 8


class ProgressBar:
    """Shows a run's progress: on a terminal as a bar, elsewhere as a line per report. Stays away from silent runs."""

    def __init__(self) -> None:
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        # Time and step at which training, and its stage, started or resumed.
        self._run_start = self._stage_start = (0.0, 0)

    @hookimpl
    def run_started(self, run: Run) -> None:
        """Open the bar."""
        self._close()
        if run.reporter.silent:
            return
        self._bar = _bar()
        if self._bar.console.is_terminal:
            self._bar.start()
        self._task = self._bar.add_task(run.recipe.name, total=run.recipe.total_steps, left="", numbers="")
        self._run_start = self._stage_start = time.monotonic(), run.step

    @hookimpl
    def stage_started(self, run: Run, stage: str, step: int) -> None:
        """Show the stage's name."""
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, description=stage, completed=run.step)
            self._stage_start = time.monotonic(), run.step

    @hookimpl
    def weights_loaded(
        self, run: Run, stage: str, path: Path, loaded: Sequence[str], kept: Sequence[str], unused: Sequence[str]
    ) -> None:
        """Print the number of tensors loaded, and the names of those that were not."""
        if run.reporter.silent:
            return
        lines = [f"{stage}: {len(loaded)} tensors loaded from {path}"]
        for names, meaning in ((kept, "not in it, left unchanged"), (unused, "in it, but not loaded")):
            if names:
                more = f", and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
                lines.append(f"  {len(names)} {meaning}: {', '.join(names[:SHOWN])}{more}")
        text = "\n".join(lines)
        if self._bar is not None and self._bar.console.is_terminal:
            self._bar.console.print(text, markup=False, highlight=False, soft_wrap=True)
        else:
            print(text, flush=True)

    @hookimpl
    def step_ended(self, run: Run, stage: str, step: int, values: Mapping[str, float]) -> None:
        """Show speed and the terms' values."""
        if self._bar is None or self._task is None:
            return
        label = run.recipe.stages[stage].label
        terms = {key.removeprefix("term/"): value for key, value in values.items() if key.startswith("term/")}
        losses = [f"{label(term)} {value:.4f}" for term, value in terms.items()]
        numbers = f"{values['images_per_second']:.0f} images/s  losses: {'  '.join(losses)}"
        left = f"{duration(self._seconds_left(run))} left"
        self._bar.update(self._task, completed=run.step, left=left, numbers=numbers)
        if not self._bar.console.is_terminal:
            print(f"{stage} {run.step}/{run.recipe.total_steps}  {left}  {numbers}", flush=True)

    @hookimpl(tryfirst=True)
    def trained(self, run: Run, network: nn.Module) -> None:
        """Close the bar before the network is evaluated, and report the time of training."""
        if self._bar is None:
            return
        self._close()
        start, first = self._run_start
        if run.step > first:
            run.reporter.say(f"trained {run.step - first} steps in {duration(time.monotonic() - start)}")

    @hookimpl
    def run_ended(self, run: Run, completed: bool) -> None:
        """Close the bar."""
        self._close()

    def _seconds_left(self, run: Run) -> float:
        """Time left at the pace of this stage so far, which is known at the first report."""
        start, first = self._stage_start
        return (time.monotonic() - start) / max(run.step - first, 1) * (run.recipe.total_steps - run.step)

    def _close(self) -> None:
        # Stopping a bar that was never started would print an empty line.
        if self._bar is not None and self._bar.live.is_started:
            self._bar.stop()
        self._bar = self._task = None


def _bar() -> Progress:
    # Imported here, because every command loads this module.
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    from rich.table import Column

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=16),
        MofNCompleteColumn(),
        TextColumn("{task.fields[left]}"),
        # The only column that is cut on a narrow terminal.
        TextColumn("{task.fields[numbers]}", markup=False, table_column=Column(ratio=1, no_wrap=True)),
        expand=True,
    )


plugin = ProgressBar()
