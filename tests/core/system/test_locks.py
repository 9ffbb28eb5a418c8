"""File locks: one owner at a time, released when it exits."""

from __future__ import annotations

import errno
import os
import subprocess
import sys

import pytest

from enface.errors import EnfaceError
from enface.system import locks
from enface.system.locks import hold_lock, try_lock
from enface_tools.runs.locks import is_locked

HOLD = """
import pathlib, sys
from enface.system.locks import hold_lock
with hold_lock(pathlib.Path(sys.argv[1]), ""):
    print("held", flush=True)
    input()
"""


@pytest.fixture
def path(tmp_path):
    return tmp_path / "lock"


@pytest.fixture
def other(path):
    """Another process that holds the lock."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_second_process_is_refused_until_the_first_exits(other, path, monkeypatch):
    monkeypatch.setattr(locks, "PATIENCE", 0.2)
    assert is_locked(path)
    with pytest.raises(EnfaceError, match=rf"it is busy \(if no process does, remove {path}\)"):
        hold_lock(path, "it is busy").__enter__()
    other.kill()
    other.wait()
    assert not is_locked(path)
    with hold_lock(path, "it is busy"):
        assert is_locked(path)
    assert not is_locked(path)


def test_a_child_process_holds_a_lock_that_it_inherited(path):
    descriptor = try_lock(path)
    with subprocess.Popen(["sleep", "60"], pass_fds=[descriptor]) as child:
        os.close(descriptor)
        assert is_locked(path)
        child.kill()
    assert not is_locked(path)


def test_is_locked_creates_no_file_and_needs_no_write_access(path):
    assert not is_locked(path)
    assert not path.exists()
    with hold_lock(path, ""):
        path.chmod(0o444)
        assert is_locked(path)


def test_two_callers_of_is_locked_do_not_see_each_other(path):
    path.touch()
    descriptor = os.open(path, os.O_RDONLY)
    locks.fcntl.flock(descriptor, locks.fcntl.LOCK_SH)
    assert not is_locked(path)
    os.close(descriptor)


def test_an_exception_releases_the_lock(path):
    with pytest.raises(KeyError), hold_lock(path, ""):
        raise KeyError
    assert not is_locked(path)


def test_a_missing_folder_is_reported(tmp_path):
    with pytest.raises(EnfaceError, match="absent/lock cannot be written to: No such file"):
        hold_lock(tmp_path / "absent" / "lock", "it is busy").__enter__()


def test_file_systems_without_locks_allow_everything(path, monkeypatch):
    def without(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(locks.fcntl, "flock", without)
    with hold_lock(path, "it is busy"), hold_lock(path, "it is busy"):
        assert not is_locked(path)
