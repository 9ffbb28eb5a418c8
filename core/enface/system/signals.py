"""SIGINT and SIGTERM, caught for as long as something runs that has to save."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

STOPPING = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def unwound() -> Iterator[None]:
    """Have SIGTERM, as Ctrl-C does, end what runs by an exception, so that what is half made is removed.

    Raises:
        KeyboardInterrupt: on SIGINT.
        SystemExit: on SIGTERM, with the exit code that a shell gives it.
    """

    def stop(number: int) -> None:
        # A cluster's scheduler sends it to every process, and so does a launcher: what is removed is removed in peace.
        for each in STOPPING:
            signal.signal(each, signal.SIG_IGN)
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        raise SystemExit(128 + number)

    with caught(stop):
        yield


@contextmanager
def caught(stop: Callable[[int], None]) -> Iterator[None]:
    """Have SIGINT and SIGTERM call a function with their number; the handlers of before come back at the end.

    Only the main thread of a process can catch signals; in another nothing is changed.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handle(number: int, frame: Any) -> None:
        stop(number)

    before = {number: signal.signal(number, handle) for number in STOPPING}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
