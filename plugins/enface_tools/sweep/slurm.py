"""The launcher ``slurm``: jobs as Slurm jobs, through submitit."""

from __future__ import annotations

import importlib
import json
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt

from enface.errors import EnfaceError, RecipeError
from enface.system.atomic import atomic_write
from enface_tools.sweep.base import Launcher, LauncherSession, RunningJob
from enface_tools.sweep.jobs import Job
from enface_tools.sweep.launcher import SAVE_TIMEOUT, import_package
from enface_tools.sweep.worker import REMOTE_POLL, RemoteJob, log_path

TERMINATED = 143
"""Exit code of a process that SIGTERM stopped."""
REQUEUE_SECONDS = 60
"""Time for Slurm to requeue a job after it stopped its processes."""
# Within the folder of logs: submitit's files, and the numbers of detached jobs.
FOLDER, RECORD = "slurm", "slurm.json"


class RequeuedJob(RemoteJob):
    """A job that saves and is requeued if Slurm interrupts it."""

    def __call__(self) -> int:
        code = super().__call__()
        if code == TERMINATED:
            # Slurm signals every process of a preempted job before it requeues the job, which interrupts this sleep.
            # Without it, the job would count as failed.
            time.sleep(REQUEUE_SECONDS)
        return code

    def checkpoint(self) -> Any:
        """Return the replacement to submit; submitit calls this before the time limit or on preemption."""
        self.save()
        return importlib.import_module("submitit").helpers.DelayedSubmission(replace(self))


@dataclass
class SlurmJob(RunningJob):
    """The Slurm job of a job."""

    submitted: Any

    def code(self) -> int | None:
        if not self.submitted.done():
            return None
        try:
            return int(self.submitted.result())
        # Failures arrive as exceptions of submitit, of the job or of the system.
        except Exception as error:
            return self.failed(error)

    def stop(self) -> None:
        self.submitted.cancel()

    def wait(self) -> None:
        until = time.monotonic() + SAVE_TIMEOUT
        while not self.submitted.done(force_check=True) and time.monotonic() < until:
            time.sleep(REMOTE_POLL)


class SlurmSession(LauncherSession):
    """Submits jobs to Slurm as one job array.

    All machines must see the recipe, the folder of runs and the data under the same paths.

    Raises:
        EnfaceError: if submitit or Slurm is not installed, or does not accept a parameter.
    """

    verb = "is queued"

    def __init__(self, model: Slurm, at_once: int | None, runs: Path, logs: Path) -> None:
        self._submitit = import_package("submitit", "slurm")
        self._model, self._runs, self._logs = model, runs, logs
        self.detached = model.detach
        is_local = model.cluster == "local"
        if not is_local and shutil.which("sbatch") is None:
            raise EnfaceError(
                "launcher slurm: sbatch is not installed here; run this on a machine of the cluster, or try it with "
                "'cluster: local'"
            )
        # Submitit's local executor would start all jobs together.
        self.at_once = (at_once or 1) if is_local else None
        self._executor = self._build_executor(None if is_local else at_once)

    def _build_executor(self, at_once: int | None) -> Any:
        model = self._model
        parameters: dict[str, Any] = {
            "timeout_min": max(1, round(model.hours * 60)),
            "gpus_per_node": model.gpus or None,
            "cpus_per_task": model.cpus,
            "mem_gb": model.memory,
            "slurm_partition": model.partition,
            "slurm_array_parallelism": at_once,
            **{f"slurm_{key}": value for key, value in model.parameters.items()},
        }
        try:
            executor = self._submitit.AutoExecutor(
                self._logs / FOLDER, cluster=model.cluster, slurm_max_num_timeout=model.requeues
            )
            executor.update_parameters(name="enface", **{k: v for k, v in parameters.items() if v is not None})
        except (NameError, RuntimeError, TypeError, ValueError, AssertionError) as error:
            raise EnfaceError(f"launcher slurm: {str(error).splitlines()[0]}") from error
        return executor

    def start(self, jobs: Sequence[Job]) -> list[SlurmJob]:
        (self._logs / FOLDER).mkdir(parents=True, exist_ok=True)
        work = [RequeuedJob(job, self._runs, log_path(job, self._logs)) for job in jobs]
        try:
            with self._executor.batch():
                submitted = [self._executor.submit(item) for item in work]
        except self._submitit.core.utils.FailedJobError as error:
            raise EnfaceError(f"launcher slurm: sbatch refused the runs: {str(error).strip()}") from error
        if self.detached:
            self._record(dict(zip(jobs, (item.job_id for item in submitted), strict=True)))
        return [SlurmJob(item.job, item.log, its) for item, its in zip(work, submitted, strict=True)]

    def taken(self, jobs: Sequence[Job]) -> list[Job]:
        numbers = self._recorded()
        return [job for job in jobs if job.digest in numbers and not self._has_ended(numbers[job.digest])]

    def _has_ended(self, number: str) -> bool:
        return bool(self._submitit.SlurmJob(self._logs / FOLDER, number).done(force_check=True))

    def _record(self, submitted: Mapping[Job, str]) -> None:
        numbers = {**self._recorded(), **{job.digest: number for job, number in submitted.items()}}
        with atomic_write(self._logs / RECORD) as temporary:
            temporary.write_text(json.dumps(numbers, indent=1), encoding="utf-8")

    def _recorded(self) -> dict[str, str]:
        """Slurm's numbers of detached jobs, by digest."""
        try:
            content = json.loads((self._logs / RECORD).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return content if isinstance(content, dict) else {}


class Slurm(Launcher):
    """Run on a Slurm cluster, through submitit.

    Args:
        cluster: ``local`` tries it without Slurm, through submitit's own executor.
        hours: Time limit of a run, after which it saves and is queued again.
        partition: Partition; default: Slurm's.
        gpus: GPUs for each run.
        cpus: Cores for each run.
        memory: Memory for each run in GB.
        requeues: Maximum number of times that a run is queued again after its time limit.
        detach: Submit and end; the same command reports later how the runs ended.
        parameters: Further parameters of sbatch, in submitit's names without ``slurm_``, as ``{account: faces}``.
    """

    def __init__(
        self,
        *,
        cluster: Literal["slurm", "local"] = "slurm",
        hours: Annotated[float, Gt(0)] = 24,
        partition: str | None = None,
        gpus: Annotated[int, Ge(0)] = 0,
        cpus: Annotated[int, Ge(1)] | None = None,
        memory: Annotated[float, Gt(0)] | None = None,
        requeues: Annotated[int, Ge(0)] = 100,
        detach: bool = False,
        parameters: Mapping[str, Any] | None = None,
    ) -> None:
        if detach and cluster == "local":
            raise RecipeError(
                "detach: not possible with 'cluster: local', because nothing could report on the runs later"
            )
        self.cluster, self.hours, self.partition, self.gpus = cluster, hours, partition, gpus
        self.cpus, self.memory, self.requeues, self.detach = cpus, memory, requeues, detach
        self.parameters = dict(parameters or {})

    def open(self, at_once: int | None, runs: Path, logs: Path) -> LauncherSession:
        return SlurmSession(self, at_once, runs.resolve(), logs.resolve())
