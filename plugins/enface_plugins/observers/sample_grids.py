"""Grids of the fixed test faces, eight a row: inputs, outputs, and once the targets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from enface import hookimpl


class SampleGrids:
    """Writes ``samples/STEP-{inputs,outputs,targets}.png`` as the seed system did."""

    @hookimpl
    def samples_ready(self, run: Any, step: int, images: Mapping[str, Tensor]) -> None:
        """Write the grids."""
        # Imported here, for it takes a second, and every command loads this module.
        from torchvision.utils import save_image

        names = {"source": "inputs", "output": "outputs", "target": "targets"}
        for role, name in names.items():
            path = run.directory / "samples" / f"{step:08d}-{name}.png"
            save_image(images[role], path, nrow=8, padding=2, normalize=True, value_range=(-1, 1))


plugin = SampleGrids()
