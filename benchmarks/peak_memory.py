"""Peak memory of a program and its child processes, measured from outside (Linux)."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import psutil

INTERVAL = 0.02
"""Seconds between two measurements."""


def anonymous_bytes(process: int) -> int:
    """Return the anonymous memory of a process, ``RssAnon``; 0 if it has ended.

    Pages of mapped files do not count, because the system may drop them at any time.
    """
    try:
        lines = Path(f"/proc/{process}/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("RssAnon:")), 0)


def process_tree(process: int) -> list[int]:
    """Return a process and its descendants, except forks that have not started their program.

    Those still share their parent's memory, which would count twice.
    """
    try:
        root = psutil.Process(process)
        command = root.cmdline()
        return [process, *(child.pid for child in root.children(recursive=True) if child.cmdline() != command)]
    except psutil.Error:
        return [process]


def peak_bytes(program: str, *arguments: str | int | Path) -> int:
    """Return the peak of :func:`anonymous_bytes` of a program in this folder, its processes together.

    Raises:
        RuntimeError: if it fails.
    """
    command: Sequence[str] = [sys.executable, str(Path(__file__).with_name(program)), *map(str, arguments)]
    peak = 0
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, env={**os.environ, "PYTHONWARNINGS": "ignore"}) as run:
        while run.poll() is None:
            peak = max(peak, sum(map(anonymous_bytes, process_tree(run.pid))))
            time.sleep(INTERVAL)
    if run.returncode:
        raise RuntimeError(f"{' '.join(command)} failed with exit code {run.returncode}")
    return peak
