"""Messages and progress for the user: in a terminal, in a notebook, or discarded."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

Progress = Callable[[int, int], None]
"""Called with the number of items done and the total."""


class Reporter(Protocol):
    """Receives messages and progress.

    Attributes:
        silent: True if nothing is shown; progress bars of observers then stay away, too.
    """

    silent: bool

    def say(self, text: str) -> None:
        """Show a line of text."""

    def progress(self, title: str) -> AbstractContextManager[Progress]:
        """Show the progress of a task while the context is open."""


class Silent:
    """A reporter that shows nothing."""

    silent = True

    def say(self, text: str) -> None:
        """Discard a line of text."""

    def progress(self, title: str) -> AbstractContextManager[Progress]:
        """Discard progress."""
        return nullcontext(lambda done, total: None)


def duration(seconds: float) -> str:
    """Return a time as ``M:SS`` or ``H:MM:SS``."""
    minutes, rest = divmod(round(max(seconds, 0)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def report_unavailable(metrics: Mapping[str, str], reporter: Reporter) -> None:
    """Show the reason why each of these metrics cannot be computed."""
    for name, reason in metrics.items():
        reporter.say(f"{name}: unavailable. {reason}")
