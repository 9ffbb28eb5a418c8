"""A job on the machine that does it: its process started, watched, and stopped so that it saves."""

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
from enface_tools.sweep.launcher import SAVING

POLL = 0.2
# How often it is asked whether a job has ended elsewhere.
ASKED_EVERY = 2
# The exit code of what was stopped by Ctrl-C.
STOPPED = 130


def log_of(job: Job, logs: Path) -> Path:
    """The file with what a job says."""
    return logs / f"{job.name}-{job.seed}.log"


def started(
    job: Job, runs: Path, log: Path, environment: Mapping[str, str] = os.environ, folder: Path | None = None
) -> subprocess.Popen[bytes]:
    """The process that runs a job, or goes on with it; it has the job's lock as long as it lives.

    Args:
        folder: Where it starts, for a recipe's relative paths; here unless given.
    """
    command, mine = job.command(runs), _locked(job.lock(runs))
    try:
        with log.open("ab") as file, _job_signals():
            # In a session of its own, so that Ctrl-C reaches it once, from whoever watches it.
            return subprocess.Popen(
                command,
                stdout=file,
                stderr=subprocess.STDOUT,
                env=dict(environment),
                cwd=folder,
                start_new_session=True,
                pass_fds=mine,
            )
    finally:
        for descriptor in mine:
            os.close(descriptor)


def _locked(path: Path) -> list[int]:
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        descriptor = try_lock(path)
    except BlockingIOError:
        # Somebody began it since it was asked for. Two runs of it spoil nothing, for each has its directory.
        return []
    return [] if descriptor is None else [descriptor]


@contextmanager
def _job_signals() -> Iterator[None]:
    """Set which signals a process that is started within receives: a process inherits the mask of its parent."""
    previous = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    try:
        # Slurm sends these to every process of a job whose time is nearly over; the job's parent has it save then.
        signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGUSR1, signal.SIGUSR2))
        # A worker of Ray blocks these, which ask a run to save.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGINT, signal.SIGTERM))
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, previous)


@dataclass
class Work:
    """A job to be done elsewhere: called there, it gives the exit code.

    What is there to do is found out there and then, so a job that begins anew goes on with what it saved.

    Attributes:
        folder: Where its process starts: here.
    """

    job: Job
    runs: Path
    log: Path
    folder: Path = field(default_factory=Path.cwd)
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    @property
    def stop_file(self) -> Path:
        """While there is such a file, the job does not begin, or saves and ends."""
        return self.log.with_suffix(".stop")

    def __call__(self) -> int:
        """Run it to its end; a KeyboardInterrupt is raised on when it has saved."""
        if self._state() == "done":
            return 0
        if self.stop_file.exists():
            return STOPPED
        self._process = started(self.job, self.runs, self.log, folder=self.folder)
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
        """What there is of it, when nobody else is at work on it any more."""
        # Slurm may begin it anew while its process of before still saves.
        until = time.monotonic() + SAVING
        while True:
            state, _ = self.job.find(self.runs)
            if state != "running" or self.stop_file.exists() or time.monotonic() > until:
                return state
            time.sleep(ASKED_EVERY)

    def save(self) -> None:
        """Ask the process to save and end, and wait until it has."""
        if self._process is None:
            return
        try:
            # Not SIGINT: to a run that Slurm has asked already, that would mean to end without saving.
            os.kill(self._process.pid, signal.SIGTERM)
            # This may run in a signal's handler amid the poll above, whose lock Popen.wait would want.
            os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOWAIT)
        except (ProcessLookupError, ChildProcessError):
            pass  # It has ended already.
