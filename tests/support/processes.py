"""Fixtures of the tests of the command line: runs in separate processes, which may be killed."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

PRELOADED = [
    "enface.training.trainer",
    "enface_tools.evaluate.evaluator",
    "enface.cli",
    "accelerate",
    "torchvision.utils",
    "enface_plugins.metrics",
]
# Code that a child runs before the command line; text, because a test module cannot be imported by its name.
CHILD = """
import os, signal, sys
# Shells start background processes with this signal ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)
os.environ.update({env!r})
os.chdir({folder!r})
log = os.open({log!r}, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
os.dup2(log, 1); os.dup2(log, 2)
sys.argv = {argv!r}
import torch
torch.set_num_threads(1)
from enface.cli import main
main()
"""


@dataclass
class Child:
    """A command that runs in a separate process."""

    process: Any
    log: Path

    def wait(self, seconds: float = 120) -> int:
        """Wait for the exit code, which is the negative number of a signal that killed the process."""
        self.process.join(seconds)
        if self.process.exitcode is None:
            self.process.kill()
            raise AssertionError(f"still running after {seconds} s:\n{self.log.read_text()}")
        return int(self.process.exitcode)

    def signal(self, number: int) -> None:
        """Send a signal."""
        os.kill(self.process.pid, number)

    @property
    def out(self) -> str:
        """Output to the terminal so far."""
        return self.log.read_text()


@dataclass
class Shell:
    """Runs commands in ``folder``, each in a new process."""

    folder: Path
    children: list[Child]
    context: Any

    def start(self, *arguments: object, **env: str) -> Child:
        """Start ``enface ARGUMENTS`` and return immediately."""
        log = self.folder / f"out-{len(self.children)}.txt"
        log.touch()
        code = CHILD.format(
            env={"ENFACE_CACHE": os.environ["ENFACE_CACHE"], **env},
            folder=str(self.folder),
            log=str(log),
            argv=["enface", *map(str, arguments)],
        )
        child = Child(self.context.Process(target=exec, args=(code, {"__name__": "child"})), log)
        child.process.start()
        self.children.append(child)
        return child

    def __call__(self, *arguments: object, **env: str) -> Child:
        """Run ``enface ARGUMENTS`` to its end."""
        child = self.start(*arguments, **env)
        child.wait()
        return child

    def run_directory(self, name: str, runs: str = "runs") -> Path:
        """The only run of a recipe."""
        (directory,) = (self.folder / runs / name).iterdir()
        return directory


@pytest.fixture(scope="session")
def context() -> Any:
    """Fork processes from one that has imported torch but not used it, which takes a second instead of ten."""
    forkserver = multiprocessing.get_context("forkserver")
    forkserver.set_forkserver_preload(PRELOADED)
    return forkserver


@pytest.fixture
def shell(tmp_path: Path, context: Any) -> Iterator[Shell]:
    shell = Shell(tmp_path, [], context)
    yield shell
    for child in shell.children:
        if child.process.is_alive():
            child.process.kill()


def events(directory: Path, kind: str | None = None) -> list[dict[str, Any]]:
    """Entries of a run's log, optionally of one event only."""
    lines = [json.loads(line) for line in (directory / "log.jsonl").read_text().splitlines()]
    return [line for line in lines if kind in (None, line["event"])]


@pytest.fixture
def log() -> Callable[..., list[dict[str, Any]]]:
    return events


@pytest.fixture
def until() -> Callable[..., None]:
    """Wait until a condition holds."""

    def wait(holds: Callable[[], bool], seconds: float = 60) -> None:
        end = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < end, "the condition was not met in time"
            time.sleep(0.01)

    return wait


@dataclass
class Browser:
    """A browser with long timeouts, for busy machines."""

    chromium: Any

    def new_page(self, **options: Any) -> Any:
        """An empty page."""
        page = self.chromium.new_page(**options)
        page.set_default_timeout(90_000)
        return page


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """The system's Chromium without a window; nothing is downloaded."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    executable = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if executable is None:
        pytest.skip("no Chromium is installed")
    # Chromium refuses to start in its sandbox as root.
    options = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    with playwright.sync_playwright() as started:
        chromium = started.chromium.launch(executable_path=executable, args=options, timeout=120_000)
        yield Browser(chromium)
        chromium.close()
