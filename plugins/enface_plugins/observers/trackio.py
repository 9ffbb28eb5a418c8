"""Trackio: scalars, sample images and artifacts, kept on this machine unless its settings name a Space or a server."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from enface_plugins.observers.tracker import WandBApi, artifact_stem, settings

if TYPE_CHECKING:
    from enface import Run


class Trackio(WandBApi):
    """Logs to Trackio in the project ``TRACKIO_PROJECT`` (default: ``enface``).

    Its environment variables apply (``TRACKIO_DIR``, ``TRACKIO_SPACE_ID``, ...).
    """

    name = "trackio"

    def open(self, run: Run, identity: str | None) -> str:
        """Start a run, or continue it; its name identifies it."""
        given = settings(run)
        name = identity or given["name"]
        self._run = self.package().init(
            project=os.environ.get("TRACKIO_PROJECT", given["project"]),
            name=name,
            group=given["group"],
            config=run.recipe.dump(),
            resume="allow" if identity else "never",
            embed=False,
            auto_log_cpu=False,
            auto_log_gpu=False,
        )
        return str(self._run.name)

    def upload(self, run: Run, paths: Mapping[str, Path]) -> None:
        """Upload each file and folder as an artifact."""
        stem = artifact_stem(run)
        for name, path in paths.items():
            kind = "model" if name.startswith("checkpoint") else "run"
            self._run.log_artifact(str(path), name=f"{stem}-{name}", type=kind)

    def close(self, completed: bool) -> None:
        """End the run."""
        self.package().finish()


plugin = Trackio()
