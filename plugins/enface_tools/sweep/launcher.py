"""Running a sweep's jobs through a launcher: what starts, what ended how, and stopping all of it."""

from __future__ import annotations

import importlib
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from enface.errors import EnfaceError
from enface.system.signals import on_signals
from enface_tools.sweep.base import LauncherSession, RunningJob
from enface_tools.sweep.jobs import Job

POLL = 0.2
SHOWN_LINES = 15
SAVING = 600
"""Seconds that a job which was asked to save and end is waited for."""


class Stopped(Exception):
    """The sweep was asked to stop; what ran has saved itself."""


def required(package: str, launcher: str) -> Any:
    """The package that a launcher needs.

    Raises:
        EnfaceError: saying what to install.
    """
    try:
        return importlib.import_module(package.lower())
    except ImportError as error:
        raise EnfaceError(f'launcher {launcher} needs {package}: pip install "enface[{launcher}]"') from error


def run_all(
    launcher: LauncherSession, jobs: Sequence[Job], runs: Path, say: Callable[[str], None] = print
) -> list[Job]:
    """Run them all; one that fails does not stop the others.

    Args:
        say: Told what happens, a line at a time.

    Returns:
        Those that failed.

    Raises:
        Stopped: after SIGINT or SIGTERM, when every running one has saved and ended.
        KeyboardInterrupt: after a second SIGINT; the running ones are asked to save, and not waited for.
    """
    waiting, running, failed = list(jobs), list[RunningJob](), list[Job]()
    asked = list[int]()

    def ask(number: int) -> None:
        # Noted, not raised: an exception may come between the start of a job and its place among the running ones, or
        # within a package that takes it for an error of its own. Who asks twice need not wait for such a package.
        if asked and number == signal.SIGINT:
            raise KeyboardInterrupt
        asked.append(number)

    try:
        with on_signals(ask):
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


def _stop(running: Sequence[RunningJob]) -> None:
    for item in running:
        item.stop()


def _started(
    launcher: LauncherSession, jobs: Sequence[Job], runs: Path, say: Callable[[str], None]
) -> Sequence[RunningJob]:
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


def _succeeded(item: RunningJob, code: int, say: Callable[[str], None]) -> bool:
    if code == 0:
        say(f"{item.job.label}: done in {time.monotonic() - item.since:.0f} s")
        return True
    say(f"{item.job.label}: failed (exit code {code}); {item.log} ends:")
    lines = item.log.read_text(encoding="utf-8", errors="replace").splitlines() if item.log.exists() else []
    for line in lines[-SHOWN_LINES:]:
        say(f"  {line}")
    return False
