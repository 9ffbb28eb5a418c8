"""Work of an observer that the training does not wait for."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait


class BackgroundWriter:
    """Calls functions one after the other in a thread beside the training.

    Args:
        name: Of the thread.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._thread: ThreadPoolExecutor | None = None
        self._pending: list[Future[None]] = []

    def call(self, function: Callable[[], None]) -> None:
        """Have a function called when those before it have ended."""
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, self._name)
        self._pending.append(self._thread.submit(function))

    def wait(self) -> None:
        """Wait until all have ended.

        Raises:
            Exception: What the first of those that failed raised, with what others did as notes; once.
        """
        pending, self._pending = self._pending, []
        wait(pending)
        errors = [error for error in (one.exception() for one in pending) if error is not None]
        if errors:
            for other in errors[1:]:
                errors[0].add_note(f"and later: {other!r}")
            raise errors[0]
