"""Fixtures of the command line's tests: whole runs in processes of their own, killed or left to end."""

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
    "enface.train.trainer",
    "enface_tools.evaluate.evaluator",
    "enface.cli",
    "accelerate",
    "torchvision.utils",
    "enface_plugins.metrics",
]
# What the child does before it is the command line; a string, for a test module cannot be imported by its name.
CHILD = """
import os, signal, sys
# A shell starts what runs in its background with this ignored.
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
    """A command running in a process of its own."""

    process: Any
    log: Path

    def wait(self, seconds: float = 120) -> int:
        """Its exit code; minus a signal's number when that killed it."""
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
        """What it has written to the terminal."""
        return self.log.read_text()


@dataclass
class Shell:
    """Runs commands in ``folder``, each in a fresh process."""

    folder: Path
    children: list[Child]
    context: Any

    def start(self, *words: object, **env: str) -> Child:
        """Start ``enface WORDS`` and return at once."""
        log = self.folder / f"out-{len(self.children)}.txt"
        log.touch()
        code = CHILD.format(
            env={"ENFACE_CACHE": os.environ["ENFACE_CACHE"], **env},
            folder=str(self.folder),
            log=str(log),
            argv=["enface", *map(str, words)],
        )
        child = Child(self.context.Process(target=exec, args=(code, {"__name__": "child"})), log)
        child.process.start()
        self.children.append(child)
        return child

    def __call__(self, *words: object, **env: str) -> Child:
        """Run ``enface WORDS`` to its end."""
        child = self.start(*words, **env)
        child.wait()
        return child

    def run_directory(self, name: str, runs: str = "runs") -> Path:
        """The one run of a recipe."""
        (found,) = (self.folder / runs / name).iterdir()
        return found


@pytest.fixture(scope="session")
def context() -> Any:
    """Processes forked from one that has imported torch but never used it: a second each instead of ten."""
    made = multiprocessing.get_context("forkserver")
    made.set_forkserver_preload(PRELOADED)
    return made


@pytest.fixture
def shell(tmp_path: Path, context: Any) -> Iterator[Shell]:
    made = Shell(tmp_path, [], context)
    yield made
    for child in made.children:
        if child.process.is_alive():
            child.process.kill()


def events(directory: Path, kind: str | None = None) -> list[dict[str, Any]]:
    """The lines of a run's log, perhaps of one kind only."""
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
            assert time.monotonic() < end, "it did not come to pass"
            time.sleep(0.01)

    return wait


@dataclass
class Browser:
    """A browser whose pages have time: a busy machine takes it."""

    chromium: Any

    def new_page(self, **options: Any) -> Any:
        """An empty page."""
        page = self.chromium.new_page(**options)
        page.set_default_timeout(90_000)
        return page


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """The system's Chromium without a window, for pages that enface makes; nothing is downloaded."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if program is None:
        pytest.skip("no Chromium is installed")
    # Root's browser refuses to start in its sandbox.
    words = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    with playwright.sync_playwright() as started:
        chromium = started.chromium.launch(executable_path=program, args=words, timeout=120_000)
        yield Browser(chromium)
        chromium.close()
