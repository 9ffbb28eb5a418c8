"""A progress bar on the terminal: steps, images a second, time left, and each term's value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from enface import hookimpl

SHOWN = 8


class ProgressBar:
    """Shows where a run is; on a terminal that is none it prints a line at each report instead."""

    def __init__(self) -> None:
        self._bar: Progress | None = None
        self._task: TaskID | None = None

    @hookimpl
    def run_started(self, run: Any) -> None:
        """Open the bar."""
        self._close()
        columns = (
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[numbers]}"),
        )
        self._bar = Progress(*columns)
        if self._bar.console.is_terminal:
            self._bar.start()
        self._task = self._bar.add_task(run.recipe.name, total=run.recipe.total_steps, numbers="")

    @hookimpl
    def stage_started(self, run: Any, stage: str, step: int) -> None:
        """Name the stage."""
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, description=stage, completed=run.step)

    @hookimpl
    def weights_loaded(
        self, stage: str, path: Path, loaded: Sequence[str], kept: Sequence[str], unused: Sequence[str]
    ) -> None:
        """Say what was loaded, and by name what was not."""
        lines = [f"{stage}: {len(loaded)} tensors loaded from {path}"]
        for names, what in ((kept, "not in it, left as they were"), (unused, "in it, but not loaded")):
            if names:
                more = f", and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
                lines.append(f"  {len(names)} {what}: {', '.join(names[:SHOWN])}{more}")
        text = "\n".join(lines)
        if self._bar is not None and self._bar.console.is_terminal:
            self._bar.console.print(text, markup=False, highlight=False, soft_wrap=True)
        else:
            print(text, flush=True)

    @hookimpl
    def step_ended(self, run: Any, stage: str, step: int, values: Mapping[str, float]) -> None:
        """Show the numbers."""
        if self._bar is None or self._task is None:
            return
        terms = [f"{key.removeprefix('term/')} {value:.4f}" for key, value in values.items() if key.startswith("term/")]
        numbers = f"{values['images_per_second']:.0f} images/s  {'  '.join(terms)}"
        self._bar.update(self._task, completed=run.step, numbers=numbers)
        if not self._bar.console.is_terminal:
            print(f"{stage} {run.step}/{run.recipe.total_steps}  {numbers}", flush=True)

    @hookimpl
    def run_ended(self, run: Any, completed: bool) -> None:
        """Close the bar."""
        self._close()

    def _close(self) -> None:
        # One that was never on show would print an empty line.
        if self._bar is not None and self._bar.live.is_started:
            self._bar.stop()
        self._bar = self._task = None


plugin = ProgressBar()
