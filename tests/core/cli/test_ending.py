"""The end of a run as the user sees it: in a file, and on terminals of 80 and 120 columns."""

from __future__ import annotations

import fcntl
import os
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest

ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def run(path, folder, columns=None, **environment):
    """Run a recipe; return its output, on a terminal if it has a number of columns."""
    command = [sys.executable, "-m", "enface", "run", str(path)]
    environment = {**os.environ, "TERM": "xterm-256color", "OMP_NUM_THREADS": "1", **environment}
    environment.pop("COLUMNS", None)
    if columns is None:
        outcome = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=True)
        return outcome.stdout
    controller, terminal = os.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 60, columns, 0, 0))
    process = subprocess.Popen(command, cwd=folder, env=environment, stdout=terminal, stderr=terminal)
    os.close(terminal)
    parts = []
    try:
        while part := os.read(controller, 65536):
            parts.append(part)
    except OSError:
        pass  # The terminal is closed.
    os.close(controller)
    assert process.wait(60) == 0, b"".join(parts)[-2000:]
    return b"".join(parts).decode().replace("\r\n", "\n")


def test_in_a_file_the_ending_is_plain_and_in_order(recipe, tmp_path):
    text = run(recipe({"log": {"every": 2}}), tmp_path, NO_COLOR="")
    assert "\x1b" not in text
    lines = text.splitlines()
    assert re.fullmatch(r"main 2/6  \d+:\d\d left  \d+ images/s  losses: .*", lines[1]), "at once, not after a while"
    parts = [r"trained 6 steps in \d:\d\d", "val people:", r"mae .*\.", r"metric +better.*", r"evaluated in \d:\d\d"]
    places = [next(n for n, line in enumerate(lines) if re.fullmatch(part, line)) for part in (*parts, "report: .*")]
    assert places == sorted(places)
    assert Path(tmp_path, lines[-1].removeprefix("report: ")).is_file()


@pytest.mark.parametrize("columns", [80, 120])
def test_on_a_terminal_the_bar_is_closed_before_the_evaluation(recipe, tmp_path, columns):
    text = run(recipe({"log": {"every": 2}}), tmp_path, columns)
    training, _, ending = text.partition("trained 6 steps in")
    assert "6/6" in ANSI.sub("", training), "the bar shows the step of the total at any width"
    assert ANSI.sub("", training).endswith("\n"), "the bar has a line of its own"
    # Bars of the evaluation are drawn over and erased.
    lines = [line.rpartition("\r")[2] for line in ANSI.sub("", ending).split("\n")]
    assert max(map(len, lines)) <= columns
    (report,) = [line for line in lines if line.startswith("report: ")]
    assert Path(tmp_path, report.removeprefix("report: ")).is_file(), "the path is whole, on a line of its own"
    assert lines[lines.index("test people:") + 1].startswith("mae ")
