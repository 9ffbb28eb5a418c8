"""Jobs as tasks of a Ray cluster."""

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
from enface_tools.sweep.launcher import SAVING, required
from enface_tools.sweep.worker import Work, log_of


@dataclass
class RayJob(RunningJob):
    """A job's task."""

    ray: Any
    reference: Any
    work: Work

    def code(self) -> int | None:
        ready, _ = self.ray.wait([self.reference], timeout=0)
        if not ready:
            return None
        try:
            return int(self.ray.get(self.reference))
        except self.ray.exceptions.RayError as error:
            return self.failed(error)

    def stop(self) -> None:
        # Not by ray.cancel, which a task that runs may not hear of.
        self.work.stop_file.touch()

    def wait(self) -> None:
        self.ray.wait([self.reference], timeout=SAVING)
        self.work.stop_file.unlink(missing_ok=True)


class RaySession(LauncherSession):
    """Hands jobs to a Ray cluster, which queues them by the cores and GPUs that each needs.

    Every machine of it must see the recipe, the runs' folder and the data under the same paths.

    Raises:
        EnfaceError: when Ray is not installed, or no cluster answers.
    """

    verb = "is queued"

    def __init__(self, model: Ray, at_once: int | None, runs: Path, logs: Path) -> None:
        # It would report its use to its makers otherwise.
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        self._ray = required("Ray", "ray")
        self._model, self._runs, self._logs = model, runs, logs
        self.at_once = at_once
        try:
            self._ray.init(address=model.address, log_to_driver=False, logging_level=logging.ERROR)
        except (ConnectionError, ValueError, RuntimeError) as error:
            where = model.address or "here"
            raise EnfaceError(
                f"launcher ray: no cluster at {where} ({str(error).splitlines()[0]}); start one by 'ray start --head', "
                "or leave out 'address' for this machine"
            ) from error
        self._refuse_too_much()

    def _refuse_too_much(self) -> None:
        there = self._ray.cluster_resources()
        # A task of no GPU is shown none: it would train on the CPU beside idle GPUs.
        self._gpus = float("GPU" in there) if self._model.gpus is None else self._model.gpus
        for key, name, wanted in (("cpus", "CPU", self._model.cpus), ("gpus", "GPU", self._gpus)):
            if wanted > there.get(name, 0):
                self._ray.shutdown()
                raise EnfaceError(
                    f"launcher ray: {key}: {wanted:g} for each run, but the cluster has {there.get(name, 0):g}"
                )

    def start(self, jobs: Sequence[Job]) -> list[RayJob]:
        self._logs.mkdir(parents=True, exist_ok=True)
        options = {"num_cpus": self._model.cpus, "num_gpus": self._gpus, "max_retries": 0}
        perform = self._ray.remote(**options)(_perform)
        found = []
        for job in jobs:
            work = Work(job, self._runs, log_of(job, self._logs))
            work.stop_file.unlink(missing_ok=True)
            found.append(RayJob(job, work.log, self._ray, perform.options(name=job.label).remote(work), work))
        return found

    def __exit__(self, *error: object) -> None:
        self._ray.shutdown()


def _perform(work: Work) -> int:
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
