"""The launcher's error for processes of which some failed."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from enface.errors import EnfaceError
from enface_tools.launch.processes import ProcessDied, StoppedBySignal, _failure

KILL, TERM, SAVED = -9, -15, 143


def failures(*codes):
    """Failures by rank, of exit codes or (exit code, seconds after the first); 0 is no failure."""
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
        ((SAVED, SAVED), StoppedBySignal, "stopped by SIGTERM while no training was in progress"),
        ((130, SAVED), StoppedBySignal, "stopped by SIGINT"),
        ((SAVED, 0), StoppedBySignal, "stopped by SIGTERM"),
        ((SAVED, TERM), StoppedBySignal, "stopped by SIGTERM"),
    ],
)
def test_the_process_that_failed_first_is_named(tmp_path, codes, kind, says):
    error = _failure(failures(*codes), len(codes), str(tmp_path))
    assert type(error) is kind
    assert says in str(error)


def test_a_users_mistake_keeps_its_message(tmp_path):
    (tmp_path / "1").write_text("the recipe has no stages")
    error = _failure(failures(SAVED, 2), 2, str(tmp_path))
    assert type(error) is EnfaceError
    assert str(error) == "the recipe has no stages"
