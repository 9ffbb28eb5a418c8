"""The launcher ``ray``: jobs as tasks of a Ray cluster."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from annotated_types import Ge, Gt

from enface.errors import EnfaceError
from enface_tools.sweep.base import Launcher, LauncherSession, RunningJob
from enface_tools.sweep.jobs import Job
from enface_tools.sweep.launcher import SAVE_TIMEOUT, import_package
from enface_tools.sweep.worker import RemoteJob, log_path


@dataclass
class RayJob(RunningJob):
    """The Ray task of a job."""

    ray: Any
    reference: Any
    work: RemoteJob

    def code(self) -> int | None:
        ready, _ = self.ray.wait([self.reference], timeout=0)
        if not ready:
            return None
        try:
            return int(self.ray.get(self.reference))
        except self.ray.exceptions.RayError as error:
            return self.failed(error)

    def stop(self) -> None:
        # Not ray.cancel, which may not reach a running task.
        self.work.stop_file.touch()

    def wait(self) -> None:
        self.ray.wait([self.reference], timeout=SAVE_TIMEOUT)
        self.work.stop_file.unlink(missing_ok=True)


class RaySession(LauncherSession):
    """Submits jobs to a Ray cluster, which schedules them by the cores and GPUs that each needs.

    All machines must see the recipe, the folder of runs and the data under the same paths.

    Raises:
        EnfaceError: if Ray is not installed, or the cluster does not respond or is too small.
    """

    verb = "is queued"

    def __init__(self, model: Ray, at_once: int | None, runs: Path, logs: Path) -> None:
        # Disable Ray's usage reports.
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        self._ray = import_package("Ray", "ray")
        self._model, self._runs, self._logs = model, runs, logs
        self.at_once = at_once
        try:
            self._ray.init(address=model.address, log_to_driver=False, logging_level=logging.ERROR)
        except (ConnectionError, ValueError, RuntimeError) as error:
            address = model.address or "this machine"
            raise EnfaceError(
                f"launcher ray: no cluster at {address} ({str(error).splitlines()[0]}); start one by "
                "'ray start --head', or omit 'address' to use this machine"
            ) from error
        self._check_resources()

    def _check_resources(self) -> None:
        available = self._ray.cluster_resources()
        # Ray hides the GPUs from a task that requests none, which would then train on the CPU beside idle GPUs.
        self._gpus = float("GPU" in available) if self._model.gpus is None else self._model.gpus
        for key, name, requested in (("cpus", "CPU", self._model.cpus), ("gpus", "GPU", self._gpus)):
            if requested > available.get(name, 0):
                self._ray.shutdown()
                raise EnfaceError(
                    f"launcher ray: {key}: {requested:g} for each run, but the cluster has {available.get(name, 0):g}"
                )

    def start(self, jobs: Sequence[Job]) -> list[RayJob]:
        self._logs.mkdir(parents=True, exist_ok=True)
        options = {"num_cpus": self._model.cpus, "num_gpus": self._gpus, "max_retries": 0}
        perform = self._ray.remote(**options)(_perform)
        started = []
        for job in jobs:
            work = RemoteJob(job, self._runs, log_path(job, self._logs))
            work.stop_file.unlink(missing_ok=True)
            started.append(RayJob(job, work.log, self._ray, perform.options(name=job.label).remote(work), work))
        return started

    def __exit__(self, *error: object) -> None:
        self._ray.shutdown()


def _perform(work: RemoteJob) -> int:
    return work()


class Ray(Launcher):
    """Run on a Ray cluster.

    Args:
        address: Address of the cluster; default: RAY_ADDRESS, or a cluster of this machine alone.
        cpus: Cores for each run.
        gpus: GPUs for each run, or a fraction of one; default: one if the cluster has any.
    """

    def __init__(
        self,
        *,
        address: str | None = None,
        cpus: Annotated[float, Gt(0)] = 1,
        gpus: Annotated[float, Ge(0)] | None = None,
    ) -> None:
        self.address, self.cpus, self.gpus = address, cpus, gpus

    def open(self, at_once: int | None, runs: Path, logs: Path) -> LauncherSession:
        return RaySession(self, at_once, runs.resolve(), logs.resolve())
