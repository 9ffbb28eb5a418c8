"""Jobs as jobs of Slurm, by submitit."""

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
from enface_tools.sweep.launcher import SAVING, required
from enface_tools.sweep.worker import ASKED_EVERY, Work, log_of

# The exit code of what was stopped by SIGTERM; and the seconds Slurm has to have it queued again.
ASKED_TO_END, QUEUED_AGAIN_WITHIN = 143, 60
# What submitit writes of one job, and which jobs were left to themselves.
FOLDER, RECORD = "slurm", "slurm.json"


class SlurmWork(Work):
    """A job that Slurm may cut off: it saves, and is queued again."""

    def __call__(self) -> int:
        code = super().__call__()
        if code == ASKED_TO_END:
            # Slurm asks every process of a job that is to make room, and only then has it queued again: this sleep is
            # broken off by either. Without it the job would count as failed.
            time.sleep(QUEUED_AGAIN_WITHIN)
        return code

    def checkpoint(self) -> Any:
        """What submitit is to submit in its place; called there when the time is nearly over, or it must make room."""
        self.save()
        return importlib.import_module("submitit").helpers.DelayedSubmission(replace(self))


@dataclass
class SlurmJob(RunningJob):
    """A job's job."""

    submitted: Any

    def code(self) -> int | None:
        if not self.submitted.done():
            return None
        try:
            return int(self.submitted.result())
        # Whatever became of it there comes back as an exception of submitit's, of the job's, or of the system's.
        except Exception as error:
            return self.failed(error)

    def stop(self) -> None:
        self.submitted.cancel()

    def wait(self) -> None:
        until = time.monotonic() + SAVING
        while not self.submitted.done(force_check=True) and time.monotonic() < until:
            time.sleep(ASKED_EVERY)


class SlurmSession(LauncherSession):
    """Hands jobs to Slurm as one array.

    Every machine must see the recipe, the runs' folder and the data under the same paths.

    Raises:
        EnfaceError: when submitit is not installed, there is no Slurm here, or it takes no such parameter.
    """

    verb = "is queued"

    def __init__(self, model: Slurm, at_once: int | None, runs: Path, logs: Path) -> None:
        self._submitit = required("submitit", "slurm")
        self._model, self._runs, self._logs = model, runs, logs
        self.detached = model.detach
        is_here = model.cluster == "local"
        if not is_here and shutil.which("sbatch") is None:
            raise EnfaceError(
                "launcher slurm: there is no sbatch here; call this on a machine of the cluster, or try it by "
                "'cluster: local'"
            )
        # Submitit's own executor would start all of them at once.
        self.at_once = (at_once or 1) if is_here else None
        self._executor = self._made(None if is_here else at_once)

    def _made(self, at_once: int | None) -> Any:
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
        work = [SlurmWork(job, self._runs, log_of(job, self._logs)) for job in jobs]
        try:
            with self._executor.batch():
                submitted = [self._executor.submit(item) for item in work]
        except self._submitit.core.utils.FailedJobError as error:
            raise EnfaceError(f"launcher slurm: sbatch refused the runs: {str(error).strip()}") from error
        if self.detached:
            self._record(dict(zip(jobs, (item.job_id for item in submitted), strict=True)))
        return [SlurmJob(item.job, item.log, there) for item, there in zip(work, submitted, strict=True)]

    def taken(self, jobs: Sequence[Job]) -> list[Job]:
        known = self._known()
        found = []
        for job in jobs:
            there = known.get(job.digest)
            if there is not None and not self._submitit.SlurmJob(self._logs / FOLDER, there).done(force_check=True):
                found.append(job)
        return found

    def _record(self, submitted: Mapping[Job, str]) -> None:
        known = {**self._known(), **{job.digest: number for job, number in submitted.items()}}
        with atomic_write(self._logs / RECORD) as beside:
            beside.write_text(json.dumps(known, indent=1), encoding="utf-8")

    def _known(self) -> dict[str, str]:
        """The numbers of jobs that were left to themselves, by digest."""
        try:
            found = json.loads((self._logs / RECORD).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}


class Slurm(Launcher):
    """Run on a Slurm cluster, through submitit.

    Args:
        cluster: ``local`` tries it without Slurm, through submitit's own executor.
        hours: Time limit of a run, after which it saves and is queued again.
        partition: Partition; default: Slurm's.
        gpus: GPUs for each run.
        cpus: Cores for each run.
        memory: Memory for each run in GB.
        requeues: How often a run may be queued again after its time limit.
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
