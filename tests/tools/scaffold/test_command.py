"""``enface new``: files, messages and errors."""

from __future__ import annotations

import pytest

from enface.plugin.catalog import Catalog
from enface.plugin.manager import load_plugins

KINDS = Catalog(load_plugins()).kinds


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_it_writes_a_package_and_names_the_next_steps(enface, tmp_path):
    outcome = enface("new", "metric", "EdgeError")
    assert outcome.code == 0, outcome.err
    files = {path.relative_to(tmp_path / "enface-edge-error").as_posix() for path in tmp_path.rglob("*.*")}
    assert files == {
        ".gitignore",
        "README.md",
        "pyproject.toml",
        "recipe.yaml",
        "src/enface_edge_error/__init__.py",
        "src/enface_edge_error/edge_error.py",
        "src/enface_edge_error/py.typed",
        "tests/test_edge_error.py",
    }
    first, *rest = outcome.out.splitlines()
    assert "src/enface_edge_error/edge_error.py" in first
    assert rest == [
        "next, in enface-edge-error:",
        '  pip install -e ".[test]"',
        "  pytest",
        "  enface run recipe.yaml",
    ]


def test_it_writes_to_a_given_folder(enface, tmp_path):
    outcome = enface("new", "loss", "soft_edges", "--dir", tmp_path / "a" / "b")
    assert outcome.code == 0, outcome.err
    assert (tmp_path / "a" / "b" / "src" / "enface_soft_edges" / "soft_edges.py").is_file()
    assert not (tmp_path / "enface-soft-edges").exists()


def test_an_existing_package_is_not_overwritten(enface, tmp_path):
    enface("new", "loss", "soft_edges")
    mine = tmp_path / "enface-soft-edges" / "src" / "enface_soft_edges" / "soft_edges.py"
    mine.write_text("# Mine.\n")
    outcome = enface("new", "loss", "SoftEdges")
    assert outcome.code == 2
    assert "enface-soft-edges exists and is not empty" in outcome.err
    assert mine.read_text() == "# Mine.\n"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("metrics", "mine"), "did you mean 'metric'"),
        (("loss", "soft edges"), "'soft edges' cannot be a class name"),
        (("loss", "charbonnier"), "is already installed"),
    ],
)
def test_a_mistake_is_one_message_and_leaves_nothing(enface, tmp_path, arguments, says):
    outcome = enface("new", *arguments)
    assert outcome.code == 2
    assert says in outcome.err
    assert list(tmp_path.iterdir()) == []


def test_its_help_names_every_kind(enface):
    text = enface("new", "--help").out.partition("Kind of the component:")[2].partition(".")[0]
    assert {word for word in text.replace(" or ", ",").replace("\n", " ").replace(" ", "").split(",") if word} == set(
        KINDS
    )
