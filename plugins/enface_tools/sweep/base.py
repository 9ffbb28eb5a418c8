"""The base classes of launchers, which start the runs of a sweep on this machine or on a cluster."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from enface.plugin.bases import Component


class Job(Protocol):
    """One run of a sweep.

    Attributes:
        digest: Digest of everything that training depends on, the seed included.
    """

    digest: str

    @property
    def label(self) -> str:
        """Name and seed, for messages."""

    def command(self, runs: Path) -> list[str]:
        """Return the command that runs the job, or resumes it."""


@dataclass
class RunningJob(ABC):
    """A job that a launcher accepted.

    Attributes:
        log: A file with the job's output.
        since: ``time.monotonic()`` at the start.
    """

    job: Any
    log: Path
    since: float = field(default_factory=time.monotonic, init=False)

    @abstractmethod
    def code(self) -> int | None:
        """Return the exit code; None while the job waits or runs."""

    def failed(self, error: Exception) -> int:
        """Write an error of the launcher to the log; return the exit code."""
        with self.log.open("a", encoding="utf-8") as file:
            file.write(f"{error}\n")
        return 1

    @abstractmethod
    def stop(self) -> None:
        """Ask the job to save and end; remove one that has not started from the queue."""

    @abstractmethod
    def wait(self) -> None:
        """Wait until the job has ended."""


class LauncherSession(AbstractContextManager["LauncherSession"], ABC):
    """A launcher in use by one sweep.

    Attributes:
        at_once: Maximum number of jobs passed to it at a time; None if it queues them itself.
        detached: True if jobs outlive the sweep, which does not wait for them then.
        verb: Verb of the message about an accepted job.
    """

    at_once: int | None = None
    detached: bool = False
    verb: str = "starts"

    @abstractmethod
    def start(self, jobs: Sequence[Any]) -> Sequence[RunningJob]:
        """Start or queue jobs, each as a process of ``enface run`` whose output goes to a file."""

    def taken(self, jobs: Sequence[Any]) -> list[Any]:
        """Return the jobs that an earlier sweep left with this launcher and that have not ended."""
        return []

    def __exit__(self, *error: object) -> None:
        return None


class Launcher(Component, ABC):
    """Starts the runs of a sweep. Keyword parameters of ``__init__`` are the keys of ``launcher:`` in a sweep file."""

    detach: bool = False

    @abstractmethod
    def open(self, at_once: int | None, runs: Path, logs: Path) -> LauncherSession:
        """Begin a session.

        Args:
            at_once: Maximum number of concurrent runs; default: one per GPU, unlimited on a cluster.
            runs: Folder of run directories.
            logs: Folder for the jobs' output.

        Raises:
            EnfaceError: if a package or the cluster is not available.
        """
