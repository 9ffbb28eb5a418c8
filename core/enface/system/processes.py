"""Facts about processes: cores, and the launcher of several processes, if any."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

MESSAGES = "ENFACE_MESSAGES"
"""Environment variable with the folder in which each process leaves its last message; the launcher prints one."""


def cores() -> int:
    """Return the number of CPU cores that this process may use; a cluster's scheduler may allow fewer than exist."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def is_launched() -> bool:
    """Return True if this process was started by the hook ``launch``."""
    return MESSAGES in os.environ


def report_to_launcher(text: str) -> bool:
    """Have the launcher print a message when this process has ended. Return False if there is no launcher."""
    folder = os.environ.get(MESSAGES)
    if folder is None:
        return False
    Path(folder, os.environ["RANK"]).write_text(text, encoding="utf-8")
    return True


def set_arguments(overrides: Sequence[str]) -> list[str]:
    """Return overrides as command line arguments: ``--set KEY=VALUE`` for each."""
    return [argument for override in overrides for argument in ("--set", override)]
