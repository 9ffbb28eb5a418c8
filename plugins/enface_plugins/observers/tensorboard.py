"""Scalars and sample grids for TensorBoard: ``tensorboard --logdir runs``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from enface import hookimpl
from enface_plugins.observers.background import BackgroundWriter
from enface_plugins.observers.labels import picture, tags

if TYPE_CHECKING:
    from torch import Tensor

    from enface import Run


class TensorBoard:
    """Writes event files to the run's ``tensorboard/``; a background thread compresses the grids."""

    def __init__(self) -> None:
        self._writer: Any = None
        self._background = BackgroundWriter("tensorboard")

    @hookimpl
    def run_started(self, run: Run) -> None:
        """Open the event file. A resumed run replaces the values logged after the step it resumes from."""
        from torch.utils.tensorboard import SummaryWriter

        self._close()
        self._writer = SummaryWriter(str(run.directory / "tensorboard"), purge_step=run.step + 1)

    @hookimpl
    def step_ended(self, run: Run, stage: str, step: int, values: Mapping[str, float]) -> None:
        """Write every value."""
        for name, value in tags(run, stage, values).items():
            self._writer.add_scalar(name, value, run.step)

    @hookimpl
    def samples_ready(self, run: Run, step: int, images: Mapping[str, Tensor]) -> None:
        """Queue the grids for writing."""
        self._background.call(lambda: self._add(images, step))

    @hookimpl
    def checkpoint_saved(self, run: Run, step: int, path: Path) -> None:
        """Wait until the grids are written, so that errors are raised now and few grids wait in memory."""
        self._background.wait()

    @hookimpl
    def evaluated(self, run: Run, step: int, summary: Mapping[str, float], split: str) -> None:
        """Write metric means; those of test people have curves of their own."""
        for name, value in summary.items():
            self._writer.add_scalar(f"{'metric' if split == 'val' else split}/{name}", value, step)

    @hookimpl
    def run_ended(self, run: Run, completed: bool) -> None:
        """Close the event file."""
        self._close()

    def _close(self) -> None:
        try:
            self._background.wait()
        finally:
            if self._writer is not None:
                self._writer.close()
            self._writer = None

    def _add(self, images: Mapping[str, Tensor], step: int) -> None:
        for name, image in images.items():
            self._writer.add_image(name, picture(image), step)


plugin = TensorBoard()
