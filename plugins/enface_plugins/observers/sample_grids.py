"""Grids of the fixed test faces, eight a row: inputs, outputs, and once the targets."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from enface import hookimpl
from enface_plugins.observers.background import BackgroundWriter

if TYPE_CHECKING:
    from torch import Tensor


class SampleGrids:
    """Writes ``samples/STEP-{inputs,outputs,targets}.png`` as the seed system did.

    They are compressed and written beside the training, and lie on disk when the next checkpoint does.
    """

    def __init__(self) -> None:
        self._aside = BackgroundWriter("sample-grids")

    @hookimpl
    def samples_ready(self, run: Any, step: int, images: Mapping[str, Tensor]) -> None:
        """Write the grids."""
        names = {"source": "inputs", "output": "outputs", "target": "targets"}
        paths = {role: run.directory / "samples" / f"{step:08d}-{name}.png" for role, name in names.items()}
        self._aside.call(lambda: _write(images, paths))

    @hookimpl
    def checkpoint_saved(self, run: Any, step: int, path: Path) -> None:
        """Wait until the grids are written, so that a run that goes on from here lacks none."""
        self._aside.wait()

    @hookimpl
    def run_ended(self, run: Any, completed: bool) -> None:
        """Wait until the grids are written."""
        self._aside.wait()


def _write(images: Mapping[str, Tensor], paths: Mapping[str, Path]) -> None:
    # Imported here, for it takes a second, and every command loads this module.
    from torchvision.utils import save_image

    for role, path in paths.items():
        save_image(images[role], path, nrow=8, padding=2, normalize=True, value_range=(-1, 1))


plugin = SampleGrids()
