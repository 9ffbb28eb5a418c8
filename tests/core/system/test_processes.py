"""What the launcher says of processes of which some did not end well."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from enface.errors import EnfaceError
from enface.system.processes import ProcessDied, Stopped, _ended

KILL, TERM, SAVED = -9, -15, 143


def failures(*codes):
    """Of each process (exit code, seconds after the first); those that ended well are none."""
    pairs = {rank: code if isinstance(code, tuple) else (code, 0) for rank, code in enumerate(codes)}
    return {rank: SimpleNamespace(exitcode=code, timestamp=when) for rank, (code, when) in pairs.items() if code}


@pytest.mark.parametrize(
    ("codes", "kind", "says"),
    [
        ((KILL, TERM), ProcessDied, "process 0 of 2 was killed by SIGKILL"),
        ((TERM, KILL), ProcessDied, "process 1 of 2 was killed by SIGKILL"),
        # The other one was in the middle of a step, and found that its peer was gone.
        ((1, KILL), ProcessDied, "process 1 of 2 was killed by SIGKILL"),
        # The others saved themselves, or stopped packing, when the launcher ended them.
        ((SAVED, KILL), ProcessDied, "process 1 of 2 was killed by SIGKILL"),
        ((SAVED, 1), ProcessDied, "process 1 of 2 failed with exit code 1"),
        ((1, (KILL, 40)), ProcessDied, "process 0 of 2 failed with exit code 1"),
        ((1, 0), ProcessDied, "process 0 of 2 failed with exit code 1"),
        ((TERM, TERM), ProcessDied, "process 0 of 2 was killed by SIGTERM"),
        ((SAVED, SAVED), Stopped, "stopped by SIGTERM"),
        ((130, SAVED), Stopped, "stopped by SIGINT"),
        ((SAVED, 0), Stopped, "stopped by SIGTERM"),
        ((SAVED, TERM), Stopped, "stopped by SIGTERM"),
    ],
)
def test_whoever_ended_first_is_named(tmp_path, codes, kind, says):
    found = _ended(failures(*codes), len(codes), str(tmp_path))
    assert type(found) is kind
    assert says in str(found)


def test_a_mistake_is_said_in_its_own_words(tmp_path):
    (tmp_path / "1").write_text("the recipe has no stages")
    found = _ended(failures(SAVED, 2), 2, str(tmp_path))
    assert type(found) is EnfaceError
    assert str(found) == "the recipe has no stages"
