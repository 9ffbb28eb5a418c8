"""MLflow: parameters, scalars, sample images and artifacts."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from enface_plugins.observers.tracker import Tracker, settings

if TYPE_CHECKING:
    import numpy.typing as npt

    from enface import Run

LONGEST = 500
"""Longest value of a parameter in characters; longer ones are cut. Stores accept at least this many."""
AT_ONCE = 100
"""Parameters in one request, as many as servers accept."""


class MLflow(Tracker):
    """Logs to MLflow, whose environment variables apply (``MLFLOW_TRACKING_URI``, ``MLFLOW_EXPERIMENT_NAME``)."""

    name = "mlflow"

    def open(self, run: Run, identity: str | None) -> str:
        """Start a run with the recipe as its parameters, or continue it."""
        self._client: Any = self.package().MlflowClient()
        given = settings(run)
        if identity is not None:
            self._client.update_run(identity, status="RUNNING")
            self._id = identity
            return identity
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", given["project"])
        experiment = self._client.get_experiment_by_name(name)
        number = experiment.experiment_id if experiment else self._client.create_experiment(name)
        created = self._client.create_run(number, run_name=given["name"], tags={"recipe": given["group"]})
        self._id = str(created.info.run_id)
        self._parameters(run)
        return self._id

    def _parameters(self, run: Run) -> None:
        from mlflow.entities import Param

        parameters = [Param(key, value[:LONGEST]) for key, value in _flat(run.recipe.dump())]
        for first in range(0, len(parameters), AT_ONCE):
            self._client.log_batch(self._id, params=parameters[first : first + AT_ONCE])

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """Log numbers."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        metrics = [Metric(name, float(value), now, step) for name, value in values.items()]
        self._client.log_batch(self._id, metrics=metrics)

    def images(self, pictures: Mapping[str, npt.NDArray[Any]], step: int) -> None:
        """Log pictures."""
        for name, pixels in pictures.items():
            self._client.log_image(self._id, pixels, key=f"samples/{name}", step=step)

    def upload(self, run: Run, paths: Mapping[str, Path]) -> None:
        """Upload all with their paths in the run directory."""
        for path in paths.values():
            folder = (path if path.is_dir() else path.parent).relative_to(run.directory).as_posix()
            send = self._client.log_artifacts if path.is_dir() else self._client.log_artifact
            send(self._id, str(path), None if folder == "." else folder)

    def close(self, completed: bool) -> None:
        """End the run; one that did not complete is ``KILLED``."""
        self._client.set_terminated(self._id, "FINISHED" if completed else "KILLED")


def _flat(value: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Dotted keys and their values as text."""
    for key, item in value.items():
        if isinstance(item, Mapping) and item:
            yield from _flat(item, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", item if isinstance(item, str) else json.dumps(item, default=str)


plugin = MLflow()
