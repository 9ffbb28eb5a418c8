"""Grids of the fixed test faces, eight per row: inputs, outputs and targets."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from enface import hookimpl
from enface_plugins.observers.background import BackgroundWriter

if TYPE_CHECKING:
    from torch import Tensor

    from enface import Run


class SampleGrids:
    """Writes ``samples/STEP-{inputs,outputs,targets}.png`` as the seed system did.

    A background thread compresses and writes them; they are complete before the next checkpoint is.
    """

    def __init__(self) -> None:
        self._background = BackgroundWriter("sample-grids")

    @hookimpl
    def samples_ready(self, run: Run, step: int, images: Mapping[str, Tensor]) -> None:
        """Queue the grids for writing."""
        names = {"source": "inputs", "output": "outputs", "target": "targets"}
        paths = {role: run.directory / "samples" / f"{step:08d}-{name}.png" for role, name in names.items()}
        self._background.call(lambda: _write(images, paths))

    @hookimpl
    def checkpoint_saved(self, run: Run, step: int, path: Path) -> None:
        """Wait until the grids are written, so that a run resumed from this checkpoint has all of them."""
        self._background.wait()

    @hookimpl
    def run_ended(self, run: Run, completed: bool) -> None:
        """Wait until the grids are written."""
        self._background.wait()


def _write(images: Mapping[str, Tensor], paths: Mapping[str, Path]) -> None:
    # Imported here, because it takes a second and every command loads this module.
    from torchvision.utils import save_image

    from enface_plugins.planes import shown

    for role, path in paths.items():
        save_image(shown(images[role]), path, nrow=8, padding=2, normalize=True, value_range=(-1, 1))


plugin = SampleGrids()
