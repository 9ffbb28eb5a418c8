"""The launcher ``local``: jobs as processes on this machine."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from enface.system.processes import cores
from enface_tools.sweep.base import Launcher, LauncherSession, RunningJob
from enface_tools.sweep.jobs import Job
from enface_tools.sweep.worker import log_path, start_process


@dataclass
class LocalJob(RunningJob):
    """The process of a job.

    Attributes:
        device: The CUDA device visible to it; None if not restricted.
    """

    process: subprocess.Popen[bytes]
    device: str | None

    def code(self) -> int | None:
        return self.process.poll()

    def stop(self) -> None:
        self.process.send_signal(signal.SIGINT)

    def wait(self) -> None:
        self.process.wait()


class LocalSession(LauncherSession):
    """Starts processes on this machine.

    Args:
        at_once: Maximum number of concurrent processes.
        logs: Folder for their output.
        devices: CUDA devices to distribute, one per job, in the notation of ``CUDA_VISIBLE_DEVICES``; empty to leave
            the choice to each job.
    """

    def __init__(self, at_once: int, runs: Path, logs: Path, devices: Sequence[str] = ()) -> None:
        self._runs, self._logs, self._devices = runs, logs, list(devices)
        self.at_once = at_once
        self._threads = max(1, cores() // at_once) if at_once > 1 else None
        self._running: list[LocalJob] = []

    def start(self, jobs: Sequence[Job]) -> list[LocalJob]:
        started = list[LocalJob]()
        try:
            for job in jobs:
                started.append(self._start(job))
        except BaseException:
            for item in started:
                item.stop()
            raise
        return started

    def _start(self, job: Job) -> LocalJob:
        self._logs.mkdir(parents=True, exist_ok=True)
        self._running = [item for item in self._running if item.code() is None]
        environment = dict(os.environ)
        if self._threads is not None:
            environment.setdefault("OMP_NUM_THREADS", str(self._threads))
        device = self._least_used_device()
        if device is not None:
            environment["CUDA_VISIBLE_DEVICES"] = device
        log = log_path(job, self._logs)
        started = LocalJob(job, log, start_process(job, self._runs, log, environment), device)
        self._running.append(started)
        return started

    def _least_used_device(self) -> str | None:
        used = [item.device for item in self._running]
        return min(self._devices, key=used.count, default=None)


def cuda_devices() -> list[str]:
    """The CUDA devices that this process may use, to distribute over jobs; empty if there are fewer than two."""
    import torch

    count = torch.cuda.device_count()
    allowed = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = [name.strip() for name in allowed.split(",")][:count] if allowed else list(map(str, range(count)))
    return names if count > 1 else []


class Local(Launcher):
    """Run on this machine."""

    def open(self, at_once: int | None, runs: Path, logs: Path) -> LauncherSession:
        devices = cuda_devices()
        return LocalSession(at_once or len(devices) or 1, runs, logs, devices)
