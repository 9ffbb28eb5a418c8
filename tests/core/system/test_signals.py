"""Ctrl-C and SIGTERM become exceptions, so that unfinished files are removed."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest

from enface.system.signals import raise_on_signals


@pytest.fixture(autouse=True)
def handlers():
    """Check that the handlers of this process are restored."""
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.getsignal(number) for number in numbers]
    yield
    assert [signal.getsignal(number) for number in numbers] == before


def send(number):
    os.kill(os.getpid(), number)
    # A handler runs between two instructions after the signal has come.
    time.sleep(0.05)


def test_sigterm_unwinds_with_the_exit_code_of_a_shell():
    with pytest.raises(SystemExit) as caught, raise_on_signals():
        send(signal.SIGTERM)
    assert caught.value.code == 143


def test_sigint_unwinds_as_ctrl_c_does():
    with pytest.raises(KeyboardInterrupt), raise_on_signals():
        send(signal.SIGINT)


def test_a_second_signal_does_not_interrupt_the_cleanup():
    removed = []

    def work():
        try:
            send(signal.SIGTERM)
        finally:
            send(signal.SIGTERM)
            removed.append(True)

    with pytest.raises(SystemExit), raise_on_signals():
        work()
    assert removed == [True]


def test_another_thread_changes_nothing():
    def work():
        with raise_on_signals():
            handlers.append(signal.getsignal(signal.SIGTERM))

    handlers = []
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert handlers == [signal.getsignal(signal.SIGTERM)]
