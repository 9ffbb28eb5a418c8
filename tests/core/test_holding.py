"""One process at a time writes to a folder."""

from __future__ import annotations

import subprocess
import sys

import pytest

from enface.errors import EnfaceError
from enface.holding import LOCK, held, is_held

HOLD = """
import pathlib, sys
from enface.holding import held
with held(pathlib.Path(sys.argv[1]), ""):
    print("held", flush=True)
    input()
"""


@pytest.fixture
def other(tmp_path):
    """Another process that holds the folder."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as found:
        assert found.stdout.readline() == "held\n"
        yield found
        found.kill()


def test_another_process_is_refused_until_the_first_is_gone(other, tmp_path):
    assert is_held(tmp_path)
    with pytest.raises(EnfaceError, match=rf"it is busy \(if there is none any more, remove {tmp_path / LOCK}\)"):
        held(tmp_path, "it is busy").__enter__()
    other.kill()
    other.wait()
    assert not is_held(tmp_path)
    with held(tmp_path, "it is busy"):
        pass
    assert not is_held(tmp_path)


def test_asking_leaves_no_file(tmp_path):
    assert not is_held(tmp_path)
    assert not list(tmp_path.iterdir())


def test_an_error_within_lets_it_go(tmp_path):
    with pytest.raises(KeyError), held(tmp_path, ""):
        raise KeyError
    assert not is_held(tmp_path)


def test_a_folder_that_cannot_be_written_is_said(tmp_path, monkeypatch):
    def refused(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("enface.holding.FileLock.acquire", refused)
    with pytest.raises(EnfaceError, match=f"{tmp_path} cannot be written to: Permission denied"):
        held(tmp_path, "it is busy").__enter__()
