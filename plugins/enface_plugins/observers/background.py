"""Background work of observers, so that training need not wait for slow disks and image compression."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait


class BackgroundWriter:
    """Runs functions one after another in a background thread.

    Args:
        name: Name of the thread.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._thread: ThreadPoolExecutor | None = None
        self._pending: list[Future[None]] = []

    def call(self, function: Callable[[], None]) -> None:
        """Queue a function."""
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, self._name)
        self._pending.append(self._thread.submit(function))

    def wait(self) -> None:
        """Wait until the queue is empty.

        Raises:
            Exception: the first error of the queued functions, with later ones as notes; each is raised once.
        """
        pending, self._pending = self._pending, []
        wait(pending)
        errors = [error for error in (future.exception() for future in pending) if error is not None]
        if errors:
            for later in errors[1:]:
                errors[0].add_note(f"and later: {later!r}")
            raise errors[0]
