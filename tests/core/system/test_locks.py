"""One process at a time writes to a folder."""

from __future__ import annotations

import errno
import os
import subprocess
import sys

import pytest

from enface.errors import EnfaceError
from enface.system import locks as holding
from enface.system.locks import held, is_held, lock

HOLD = """
import pathlib, sys
from enface.system.locks import held
with held(pathlib.Path(sys.argv[1]), ""):
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
    ) as found:
        assert found.stdout.readline() == "held\n"
        yield found
        found.kill()


def test_another_process_is_refused_until_the_first_is_gone(other, path, monkeypatch):
    monkeypatch.setattr(holding, "PATIENCE", 0.2)
    assert is_held(path)
    with pytest.raises(EnfaceError, match=rf"it is busy \(if there is none any more, remove {path}\)"):
        held(path, "it is busy").__enter__()
    other.kill()
    other.wait()
    assert not is_held(path)
    with held(path, "it is busy"):
        assert is_held(path)
    assert not is_held(path)


def test_a_child_has_what_it_was_handed_as_long_as_it_lives(path):
    descriptor = lock(path)
    with subprocess.Popen(["sleep", "60"], pass_fds=[descriptor]) as child:
        os.close(descriptor)
        assert is_held(path)
        child.kill()
    assert not is_held(path)


def test_asking_leaves_no_file_and_may_be_done_by_those_who_only_read(path):
    assert not is_held(path)
    assert not path.exists()
    with held(path, ""):
        path.chmod(0o444)
        assert is_held(path)


def test_two_who_ask_do_not_see_each_other(path):
    path.touch()
    descriptor = os.open(path, os.O_RDONLY)
    holding.fcntl.flock(descriptor, holding.fcntl.LOCK_SH)
    assert not is_held(path)
    os.close(descriptor)


def test_an_error_within_lets_it_go(path):
    with pytest.raises(KeyError), held(path, ""):
        raise KeyError
    assert not is_held(path)


def test_a_folder_that_cannot_be_written_is_said(tmp_path):
    with pytest.raises(EnfaceError, match="absent/lock cannot be written to: No such file"):
        held(tmp_path / "absent" / "lock", "it is busy").__enter__()


def test_where_there_are_no_locks_work_goes_on(path, monkeypatch):
    def without(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(holding.fcntl, "flock", without)
    with held(path, "it is busy"), held(path, "it is busy"):
        assert not is_held(path)
