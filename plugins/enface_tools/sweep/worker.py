"""Start the process of a job on the machine that runs it, watch it, and stop it so that it saves."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from enface.system.locks import try_lock
from enface_tools.sweep.jobs import Job, State
from enface_tools.sweep.launcher import SAVE_TIMEOUT

POLL = 0.2
REMOTE_POLL = 2
"""Seconds between checks of a job on another machine."""
STOPPED = 130
"""Exit code of a job that was stopped before it started, as after Ctrl-C."""


def log_path(job: Job, logs: Path) -> Path:
    """File of a job's output."""
    return logs / f"{job.name}-{job.seed}.log"


def start_process(
    job: Job, runs: Path, log: Path, environment: Mapping[str, str] = os.environ, folder: Path | None = None
) -> subprocess.Popen[bytes]:
    """Start the process that runs or resumes a job; it holds the job's lock while it lives.

    Args:
        folder: Working directory of the process, for relative paths in a recipe; default: that of this process.
    """
    command, descriptors = job.command(runs), _lock(job.lock(runs))
    try:
        with log.open("ab") as file, _job_signals():
            # In a session of its own, so that Ctrl-C reaches it only through the process that watches it.
            return subprocess.Popen(
                command,
                stdout=file,
                stderr=subprocess.STDOUT,
                env=dict(environment),
                cwd=folder,
                start_new_session=True,
                pass_fds=descriptors,
            )
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


def _lock(path: Path) -> list[int]:
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        descriptor = try_lock(path)
    except BlockingIOError:
        # Another process has started the job meanwhile. Two runs do no harm: each has a directory of its own.
        return []
    return [] if descriptor is None else [descriptor]


@contextmanager
def _job_signals() -> Iterator[None]:
    """Set the signal mask that a process started in this context inherits."""
    previous = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    try:
        # Slurm sends these to every process of a job before its time limit; the parent process then has the job save.
        signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGUSR1, signal.SIGUSR2))
        # Ray's workers block these, which make a run save.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGINT, signal.SIGTERM))
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, previous)


@dataclass
class RemoteJob:
    """A job to be called on another machine, where it returns the exit code.

    The state of the run is read when it is called, so a job that starts again resumes what it saved.

    Attributes:
        folder: Working directory of its process.
    """

    job: Job
    runs: Path
    log: Path
    folder: Path = field(default_factory=Path.cwd)
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    @property
    def stop_file(self) -> Path:
        """File whose existence keeps the job from starting, or makes it save and end."""
        return self.log.with_suffix(".stop")

    def __call__(self) -> int:
        """Run the job to its end; re-raise KeyboardInterrupt after it has saved."""
        if self._state() == "done":
            return 0
        if self.stop_file.exists():
            return STOPPED
        self._process = start_process(self.job, self.runs, self.log, folder=self.folder)
        try:
            while self._process.poll() is None:
                time.sleep(POLL)
                if self.stop_file.exists():
                    self.save()
        except KeyboardInterrupt:
            self.save()
            raise
        return self._process.returncode

    def _state(self) -> State:
        """State of the job, after waiting for any other process that trains it."""
        # Slurm may start the job again while its previous process still saves.
        until = time.monotonic() + SAVE_TIMEOUT
        while True:
            state, _ = self.job.find(self.runs)
            if state != "running" or self.stop_file.exists() or time.monotonic() > until:
                return state
            time.sleep(REMOTE_POLL)

    def save(self) -> None:
        """Ask the process to save and end, and wait until it has."""
        if self._process is None:
            return
        try:
            # Not SIGINT: a run that Slurm has signalled already would take it as a request to end without saving.
            os.kill(self._process.pid, signal.SIGTERM)
            # Not Popen.wait: this may run in a signal handler during the poll above, which holds Popen's lock.
            os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOWAIT)
        except (ProcessLookupError, ChildProcessError):
            pass  # It has ended already.
