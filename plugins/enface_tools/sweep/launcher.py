"""Run a sweep's jobs with a launcher, report their ends, and stop them."""

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
SAVE_TIMEOUT = 600
"""Seconds to wait for a job that was asked to save and end."""


class Stopped(Exception):
    """The sweep was stopped by a signal; all running jobs have saved."""


def import_package(package: str, launcher: str) -> Any:
    """Import a package that a launcher needs.

    Raises:
        EnfaceError: if it is not installed, naming the command that installs it.
    """
    try:
        return importlib.import_module(package.lower())
    except ImportError as error:
        raise EnfaceError(f'launcher {launcher} needs {package}: pip install "enface[{launcher}]"') from error


def run_all(
    launcher: LauncherSession,
    jobs: Sequence[Job],
    runs: Path,
    say: Callable[[str], None] = print,
    watch: Callable[[Sequence[Job], int], None] = lambda running, ended: None,
) -> list[Job]:
    """Run all jobs; a job that fails does not stop the others.

    Args:
        say: Receives a line for each event.
        watch: Called all the time with the jobs that the launcher has accepted and the number of those that have ended.

    Returns:
        The jobs that failed.

    Raises:
        Stopped: after SIGINT or SIGTERM, when all running jobs have saved and ended.
        KeyboardInterrupt: after a second SIGINT; running jobs are asked to save, but not waited for.
    """
    waiting, running, failed = list(jobs), list[RunningJob](), list[Job]()
    signals = list[int]()

    def note(number: int) -> None:
        # Noted, not raised: an exception might come between the start of a job and its addition to the running ones,
        # or within a package that takes it for an error of its own. A second Ctrl-C does not wait for such a package.
        if signals and number == signal.SIGINT:
            raise KeyboardInterrupt
        signals.append(number)

    try:
        with on_signals(note):
            while (waiting or running) and not signals:
                room = len(waiting) if launcher.at_once is None else launcher.at_once - len(running)
                if room > 0 and waiting:
                    now, waiting = waiting[:room], waiting[room:]
                    running += _start(launcher, now, runs, say)
                if launcher.detached:
                    return []
                watch([item.job for item in running], len(jobs) - len(waiting) - len(running))
                time.sleep(POLL)
                for item in running[:]:
                    code = item.code()
                    if code is None:
                        continue
                    running.remove(item)
                    if not _report_end(item, code, say):
                        failed.append(item.job)
    except BaseException:
        _stop(running)
        raise
    if not waiting and not running:
        return failed
    # Signals are no longer caught, so a further one ends the sweep without waiting; the jobs still save.
    _stop(running)
    for item in running:
        item.wait()
        say(f"{item.job.label}: stopped and saved")
    raise Stopped


def _stop(running: Sequence[RunningJob]) -> None:
    for item in running:
        item.stop()


def _start(
    launcher: LauncherSession, jobs: Sequence[Job], runs: Path, say: Callable[[str], None]
) -> Sequence[RunningJob]:
    states = {job: job.find(runs) for job in jobs}
    # A job may have been run outside of the sweep in the meantime.
    ready = [job for job in jobs if states[job][0] in ("cut off", "new")]
    for job in jobs:
        if job not in ready:
            say(f"{job.label}: already {states[job][0]}")
    started = launcher.start(ready) if ready else []
    for item in started:
        state, directory = states[item.job]
        resumed = f" and resumes {directory}" if state == "cut off" else ""
        say(f"{item.job.label}: {launcher.verb}{resumed} ({item.log})")
    return started


def _report_end(item: RunningJob, code: int, say: Callable[[str], None]) -> bool:
    """Report how a job ended; return True if it succeeded."""
    if code == 0:
        say(f"{item.job.label}: done in {time.monotonic() - item.since:.0f} s")
        return True
    say(f"{item.job.label}: failed (exit code {code}); {item.log} ends:")
    lines = item.log.read_text(encoding="utf-8", errors="replace").splitlines() if item.log.exists() else []
    for line in lines[-SHOWN_LINES:]:
        say(f"  {line}")
    return False
