"""Commands come from plugins; the core has only ``run``."""

from __future__ import annotations

import importlib.metadata
import sys
from pathlib import Path

import pytest

SUPPORT = Path(__file__).parents[2] / "support"


class Filtered:
    """A distribution reduced to some of its entry points."""

    def __init__(self, distribution, entry_points):
        self._distribution, self.entry_points = distribution, entry_points

    def __getattr__(self, name):
        return getattr(self._distribution, name)


def only(names):
    """Return a function that lists distributions with only the entry points of modules that begin with ``names``."""
    original = importlib.metadata.distributions

    def distributions(**options):
        for distribution in original(**options):
            points = [item for item in distribution.entry_points if item.value.startswith(names)]
            yield Filtered(distribution, points)

    return distributions


@pytest.fixture
def no_tools(monkeypatch):
    """Hide the entry points of tools, and the names they added to the Python API."""
    import enface as package

    monkeypatch.setattr(importlib.metadata, "distributions", only(("enface_plugins",)))
    for name, item in list(vars(package).items()):
        if str(getattr(item, "__module__", "")).startswith("enface_tools"):
            monkeypatch.delattr(package, name)


def test_without_tools_help_lists_run(enface, no_tools):
    outcome = enface("--help")
    listed, _, epilog = outcome.out.partition("Commands:")[2].partition("No tools are installed")
    assert [line.split()[0] for line in listed.splitlines() if line.strip()] == ["run"]
    assert "pip install enface" in " ".join(epilog.split())


@pytest.fixture
def packed(recipe):
    """The keys of ``data`` that name a pack."""
    from enface.recipe.load import load_recipe
    from enface_tools.packs.building import make_pack

    loaded = load_recipe(recipe({}))
    return {"pack": str(make_pack(loaded.recipe, loaded.catalog).folder)}


def test_packs_are_not_made_without_tools(enface, recipe, no_tools, tmp_path):
    outcome = enface("run", recipe({}), "--runs", tmp_path / "runs")
    assert outcome.code == 2
    assert "data: no installed plugin makes packs; install enface again" in outcome.err


def test_a_run_without_tools_trains(enface, recipe, packed, no_tools, tmp_path):
    path = recipe({"log": {"best": None}, "data": packed})
    outcome = enface("run", path, "--runs", tmp_path / "runs")
    assert outcome.code == 0, outcome.err
    (directory,) = (tmp_path / "runs" / "toy").iterdir()
    assert list((directory / "checkpoints").iterdir())
    assert not (directory / "evaluation" / "summary.json").exists()


def test_a_best_metric_without_tools_is_refused(enface, recipe, packed, no_tools, tmp_path):
    data = {**packed, "split": {"train": 3, "val": 1, "test": 2}}
    path = recipe({"log": {"best": "mae"}, "metrics": ["mae"], "data": data})
    outcome = enface("run", path, "--runs", tmp_path / "runs")
    assert outcome.code == 2
    assert "log.best: no installed plugin measures networks" in outcome.err


def test_several_processes_without_tools_are_refused(enface, recipe, no_tools, tmp_path):
    outcome = enface("run", recipe({}), "--runs", tmp_path / "runs", "--processes", 2)
    assert outcome.code == 2
    assert "--processes: no installed plugin starts several processes; install enface again" in outcome.err
    assert not (tmp_path / "runs").exists()


def test_without_tools_a_run_builds_every_stage_first(enface, recipe, packed, no_tools, tmp_path):
    path = recipe({"log": {"best": None}, "data": packed, "stages": {"main": {"freeze": ["encodr"]}}})
    outcome = enface("run", path, "--runs", tmp_path / "runs")
    assert outcome.code == 2
    assert "stages.main.freeze.0: generator siamese has no part 'encodr'; did you mean 'encoder'?" in outcome.err


@pytest.fixture
def installed(monkeypatch):
    """Register a module as an installed plugin: ``installed(NAME, MODULE)``."""

    def install(name, module):
        entry = importlib.metadata.EntryPoint(name, module, "enface")
        original = importlib.metadata.distributions
        mine = type("Distribution", (), {"entry_points": [entry], "metadata": {"name": name}})()
        monkeypatch.setattr(importlib.metadata, "distributions", lambda **options: [*original(**options), mine])

    monkeypatch.syspath_prepend(str(SUPPORT))
    yield install
    for name in ("hello", "second_run"):
        sys.modules.pop(name, None)


def test_a_plugin_of_ten_lines_adds_a_command(enface, installed):
    assert len((SUPPORT / "hello.py").read_text().splitlines()) <= 10
    installed("hello", "hello")
    assert "hello" in enface("--help").out
    assert enface("hello", "Ada").out == "hello Ada\n"


def test_two_commands_of_one_name_are_refused(enface, installed, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "second_run.py").write_text(
        "import typer\nfrom enface import hookimpl\n\n\n@hookimpl\ndef commands(app: typer.Typer) -> None:\n"
        '    app.command("run")(lambda: None)\n'
    )
    installed("second_run", "second_run")
    outcome = enface("--help")
    assert outcome.code == 2
    assert "two installed plugins bring the command 'run'" in outcome.err
