"""Ctrl-C and SIGTERM end what runs by an exception, so that what is half made is removed."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest

from enface.system.signals import unwound


@pytest.fixture(autouse=True)
def handlers():
    """Those of this process are as they were afterwards."""
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.getsignal(number) for number in numbers]
    yield
    assert [signal.getsignal(number) for number in numbers] == before


def send(number):
    os.kill(os.getpid(), number)
    # A handler runs between two instructions after the signal has come.
    time.sleep(0.05)


def test_sigterm_unwinds_with_the_exit_code_of_a_shell():
    with pytest.raises(SystemExit) as caught, unwound():
        send(signal.SIGTERM)
    assert caught.value.code == 143


def test_sigint_unwinds_as_ctrl_c_does():
    with pytest.raises(KeyboardInterrupt), unwound():
        send(signal.SIGINT)


def test_one_more_does_not_break_off_what_is_being_removed():
    removed = []

    def work():
        try:
            send(signal.SIGTERM)
        finally:
            send(signal.SIGTERM)
            removed.append(True)

    with pytest.raises(SystemExit), unwound():
        work()
    assert removed == [True]


def test_in_another_thread_nothing_is_changed():
    def work():
        with unwound():
            found.append(signal.getsignal(signal.SIGTERM))

    found = []
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [signal.getsignal(signal.SIGTERM)]
