"""A job on the machine that does it: its process started, watched, and stopped so that it saves."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from enface.sweep import Job

POLL = 0.2


def log_of(job: Job, logs: Path) -> Path:
    """The file with what a job says."""
    return logs / f"{job.name}-{job.seed}.log"


def started(job: Job, runs: Path, log: Path, environment: Mapping[str, str] = os.environ) -> subprocess.Popen[bytes]:
    """The process that runs a job, or goes on with it."""
    with log.open("ab") as file:
        # In a session of its own, so that Ctrl-C reaches it once, from whoever watches it.
        return subprocess.Popen(
            job.command(runs),
            stdout=file,
            stderr=subprocess.STDOUT,
            env=dict(environment),
            start_new_session=True,
            preexec_fn=_ignore_warnings,
        )


def _ignore_warnings() -> None:
    # Slurm sends these to every process of a job that is to end soon; the one that watches this process saves it.
    for number in (signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)


@dataclass
class Work:
    """A job to be done elsewhere: called there, it gives the exit code.

    What is there to do is found out there and then, so a job that begins anew goes on with what it saved.
    """

    job: Job
    runs: Path
    log: Path
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    def __call__(self) -> int:
        """Run it to its end; a KeyboardInterrupt is raised on when it has saved."""
        if self.job.find(self.runs)[0] == "done":
            return 0
        self._process = started(self.job, self.runs, self.log)
        try:
            # Not a wait for the process, which an interrupt that is no signal would not end.
            while self._process.poll() is None:
                time.sleep(POLL)
        except KeyboardInterrupt:
            self.save()
            raise
        return self._process.returncode

    def save(self) -> None:
        """Ask the process to save and end, and wait until it has."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait()

    def again(self) -> Work:
        """The same job, to be begun anew."""
        return Work(self.job, self.runs, self.log)
