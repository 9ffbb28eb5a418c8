"""Running a sweep's jobs through a launcher: what starts, what ended how, and stopping all of it."""

from __future__ import annotations

import importlib
import signal
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from enface.errors import EnfaceError
from enface.system.signals import caught
from enface_tools.sweep.jobs import Job

POLL = 0.2
SHOWN_LINES = 15
SAVING = 600
"""Seconds that a job which was asked to save and end is waited for."""


class Stopped(Exception):
    """The sweep was asked to stop; what ran has saved itself."""


@dataclass
class Running(ABC):
    """A job that a launcher took.

    Attributes:
        log: A file with what it says.
    """

    job: Job
    log: Path
    since: float = field(default_factory=time.monotonic, init=False)

    @abstractmethod
    def code(self) -> int | None:
        """The exit code; None while it waits or runs."""

    def failed(self, error: Exception) -> int:
        """The exit code of one that ended by an error of its launcher's, which is put into the log."""
        with self.log.open("a", encoding="utf-8") as file:
            file.write(f"{error}\n")
        return 1

    @abstractmethod
    def stop(self) -> None:
        """Ask it to save and end; one that only waits is taken back."""

    @abstractmethod
    def wait(self) -> None:
        """Until it has ended."""


class Launcher(AbstractContextManager["Launcher"], ABC):
    """Starts jobs somewhere.

    Attributes:
        at_once: How many it is given at a time; None where it queues by itself.
        detached: Whether jobs go on without the sweep, which then does not wait for them.
        verb: What is said of a job that it took.
    """

    at_once: int | None = None
    detached: bool = False
    verb: str = "starts"

    @abstractmethod
    def start(self, jobs: Sequence[Job]) -> Sequence[Running]:
        """Take jobs, each as a process of ``enface run`` whose words go to a file."""

    def taken(self, jobs: Sequence[Job]) -> list[Job]:
        """Those of some jobs that a sweep before this one left with it, and that have not ended."""
        return []

    def __exit__(self, *error: object) -> None:
        return None


def required(package: str, launcher: str) -> Any:
    """The package that a launcher needs.

    Raises:
        EnfaceError: saying what to install.
    """
    try:
        return importlib.import_module(package.lower())
    except ImportError as error:
        raise EnfaceError(f'launcher {launcher} needs {package}: pip install "enface[{launcher}]"') from error


def run_all(launcher: Launcher, jobs: Sequence[Job], runs: Path, say: Callable[[str], None] = print) -> list[Job]:
    """Run them all; one that fails does not stop the others.

    Args:
        say: Told what happens, a line at a time.

    Returns:
        Those that failed.

    Raises:
        Stopped: after SIGINT or SIGTERM, when every running one has saved and ended.
        KeyboardInterrupt: after a second SIGINT; the running ones are asked to save, and not waited for.
    """
    waiting, running, failed = list(jobs), list[Running](), list[Job]()
    asked = list[int]()

    def ask(number: int) -> None:
        # Noted, not raised: an exception may come between the start of a job and its place among the running ones, or
        # within a package that takes it for an error of its own. Who asks twice need not wait for such a package.
        if asked and number == signal.SIGINT:
            raise KeyboardInterrupt
        asked.append(number)

    try:
        with caught(ask):
            while (waiting or running) and not asked:
                room = len(waiting) if launcher.at_once is None else launcher.at_once - len(running)
                if room > 0 and waiting:
                    now, waiting = waiting[:room], waiting[room:]
                    running += _started(launcher, now, runs, say)
                if launcher.detached:
                    return []
                time.sleep(POLL)
                for item in running[:]:
                    code = item.code()
                    if code is None:
                        continue
                    running.remove(item)
                    if not _succeeded(item, code, say):
                        failed.append(item.job)
    except BaseException:
        _stop(running)
        raise
    if not waiting and not running:
        return failed
    # No longer caught: whoever asks once more need not wait; the runs have been asked, and save by themselves.
    _stop(running)
    for item in running:
        item.wait()
        say(f"{item.job.label}: stopped; it is saved")
    raise Stopped


def _stop(running: Sequence[Running]) -> None:
    for item in running:
        item.stop()


def _started(launcher: Launcher, jobs: Sequence[Job], runs: Path, say: Callable[[str], None]) -> Sequence[Running]:
    found = {job: job.find(runs) for job in jobs}
    # Since the sweep looked, somebody may have run them by hand.
    ready = [job for job in jobs if found[job][0] in ("cut off", "new")]
    for job in jobs:
        if job not in ready:
            say(f"{job.label}: {found[job][0]} by now")
    started = launcher.start(ready) if ready else []
    for item in started:
        state, directory = found[item.job]
        went = f" and goes on with {directory}" if state == "cut off" else ""
        say(f"{item.job.label}: {launcher.verb}{went} ({item.log})")
    return started


def _succeeded(item: Running, code: int, say: Callable[[str], None]) -> bool:
    if code == 0:
        say(f"{item.job.label}: done in {time.monotonic() - item.since:.0f} s")
        return True
    say(f"{item.job.label}: failed (exit code {code}); {item.log} ends:")
    lines = item.log.read_text(encoding="utf-8", errors="replace").splitlines() if item.log.exists() else []
    for line in lines[-SHOWN_LINES:]:
        say(f"  {line}")
    return False
