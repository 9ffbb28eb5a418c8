"""Completion of commands, recipes and runs in the shell."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.fixture
def complete(tmp_path, monkeypatch):
    """Return what bash is offered for a line, in a folder with two recipes and two runs."""
    (tmp_path / "mine.yaml").touch()
    (tmp_path / "notes.txt").touch()
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "deep.yaml").touch()
    for run in ("toy/20260101-000000", "tall/20260102-000000"):
        (tmp_path / "runs" / run).mkdir(parents=True)
        (tmp_path / "runs" / run / "recipe.yaml").touch()
    monkeypatch.setenv("_ENFACE_COMPLETE", "complete_bash")

    def offered(line):
        monkeypatch.setenv("COMP_WORDS", line)
        monkeypatch.setenv("COMP_CWORD", str(len(line.split(" ")) - 1))
        code = (
            "import sys\nsys.argv = ['enface']\nfrom enface.cli import main\ntry: main()\nexcept SystemExit: pass\n"
            "print('heavy:', {'torch', 'numpy', 'rich', 'pandas'} & set(sys.modules))"
        )
        process = subprocess.run(
            [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
        )
        *lines, heavy = process.stdout.split("\n")[:-1] or [process.stderr]
        assert heavy == "heavy: set()", process.stderr
        return set(filter(None, lines))

    return offered


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("enface eval", {"evaluate"}),
        ("enface check quickst", {"quickstart"}),
        ("enface run mi", {"mine.yaml"}),
        ("enface run mo", {"more/"}),
        ("enface run more/", {"more/deep.yaml"}),
        ("enface check to", {"toy", "toy/20260101-000000"}),
        ("enface evaluate t", {"toy", "toy/20260101-000000", "tall", "tall/20260102-000000"}),
        ("enface evaluate late", {"latest"}),
        ("enface evaluate quickst", set()),
        ("enface run none_such", set()),
    ],
)
def test_names_are_offered_without_slow_imports(complete, line, expected):
    assert complete(line) == expected
