"""Weights & Biases: scalars, sample images and artifacts."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from enface import is_offline
from enface_plugins.observers.tracker import WandBApi, artifact_stem, settings

if TYPE_CHECKING:
    from enface import Run


class WandB(WandBApi):
    """Logs to Weights & Biases, whose environment variables apply (``WANDB_PROJECT``, ``WANDB_MODE``, ...).

    Without a connection it writes to ``RUN/wandb``, which ``wandb sync`` uploads; ``--offline`` does, too.
    """

    name = "wandb"

    def open(self, run: Run, identity: str | None) -> str:
        """Start a run, or continue it."""
        wandb, given = self.package(), settings(run)
        options = {"console": "off", "quiet": True, "silent": run.reporter.silent}
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", given["project"]),
            group=given["group"],
            name=given["name"],
            config=run.recipe.dump(),
            dir=str(run.directory),
            id=identity,
            resume="allow" if identity else None,
            mode="offline" if is_offline() else None,
            settings=wandb.Settings(**options),
        )
        return str(self._run.id)

    def upload(self, run: Run, paths: Mapping[str, Path]) -> None:
        """Upload all as one artifact, the checkpoints as another of the type ``model``."""
        stem = artifact_stem(run)
        for kind in ("run", "model"):
            chosen = [path for name, path in paths.items() if name.startswith("checkpoint") == (kind == "model")]
            if not chosen:
                continue
            artifact = self.package().Artifact(f"{stem}-{kind}", type=kind)
            for path in chosen:
                name = path.relative_to(run.directory).as_posix()
                artifact.add_dir(str(path), name=name) if path.is_dir() else artifact.add_file(str(path), name=name)
            self._run.log_artifact(artifact)

    def close(self, completed: bool) -> None:
        """End the run; one that did not complete counts as failed."""
        self._run.finish(exit_code=0 if completed else 1)


plugin = WandB()
