"""How much memory a program and the processes it starts take at most, looked at from outside."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import psutil

EVERY = 0.02


def anonymous(process: int) -> int:
    """Bytes that a process has taken for itself (Linux); 0 for one that has ended.

    Pages of a mapped file do not count: the system may drop them at any time.
    """
    try:
        lines = Path(f"/proc/{process}/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("RssAnon:")), 0)


def family(process: int) -> list[int]:
    """A process and those below it, without such as just begin and still share its memory, which would count twice."""
    try:
        first = psutil.Process(process)
        own = first.cmdline()
        return [process, *(child.pid for child in first.children(recursive=True) if child.cmdline() != own)]
    except psutil.Error:
        return [process]


def peak(program: str, *arguments: str | int | Path) -> int:
    """The most :func:`anonymous` bytes of a program of this folder and its processes together.

    Raises:
        RuntimeError: when it fails.
    """
    command: Sequence[str] = [sys.executable, str(Path(__file__).with_name(program)), *map(str, arguments)]
    highest = 0
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, env={**os.environ, "PYTHONWARNINGS": "ignore"}) as run:
        while run.poll() is None:
            highest = max(highest, sum(map(anonymous, family(run.pid))))
            time.sleep(EVERY)
    if run.returncode:
        raise RuntimeError(f"{program} {arguments} ended with {run.returncode}")
    return highest
