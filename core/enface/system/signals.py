"""Handlers of SIGINT and SIGTERM for tasks that must clean up or save before they end."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def raise_on_signals() -> Iterator[None]:
    """Turn SIGINT and SIGTERM into exceptions, so that unfinished files are removed.

    Raises KeyboardInterrupt on SIGINT, and on SIGTERM SystemExit with the exit code that a shell gives it.
    """

    def stop(number: int) -> None:
        # Schedulers and launchers may signal a process twice; the second must not interrupt the cleanup.
        for each in SIGNALS:
            signal.signal(each, signal.SIG_IGN)
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        raise SystemExit(128 + number)

    with on_signals(stop):
        yield


@contextmanager
def on_signals(handler: Callable[[int], None]) -> Iterator[None]:
    """Call a function with the signal's number on SIGINT and SIGTERM; restore the previous handlers at the end.

    Python handles signals in a process's main thread only; in another thread this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handle(number: int, frame: Any) -> None:
        handler(number)

    previous = {number: signal.signal(number, handle) for number in SIGNALS}
    try:
        yield
    finally:
        for number, old in previous.items():
            signal.signal(number, old)
