"""The Python API, as the README, the docs and the example notebook show it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from PIL import Image

import enface

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def workshop(tmp_path_factory):
    """A folder with a photo and two evaluated runs, ``runs/control`` and ``runs/idea``."""
    pytest.importorskip("anny", reason="synthetic heads need: pip install enface[synthetic]")
    folder = tmp_path_factory.mktemp("workshop")
    Image.new("RGB", (40, 40), (120, 90, 80)).save(folder / "photo.png")
    for name, steps in (("control", 4), ("idea", 8)):
        recipe = enface.load_recipe("tiny", [f"name={name}", f"stages.warm.steps={steps}", "log.observers=[]"])
        enface.train(recipe, runs=folder / "runs")
    return folder


def python_block(page: str, containing: str) -> str:
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(encoding="utf-8"), re.S)
    (block,) = [block for block in blocks if containing in block]
    return block


@pytest.mark.parametrize("page", ["README.md", "docs/python.md"])
def test_the_examples_run_as_written(workshop, monkeypatch, page):
    monkeypatch.chdir(workshop)
    names: dict = {}
    exec(python_block(page, "enface.train("), names)
    results, comparison = names.get("results", names.get("result")), names["comparison"]
    table = results.table()
    assert {"mae", "psnr", "ssim"} <= set(table.index)
    assert 0 < table["mean"]["mae"] < 1
    assert table[["low", "high"]].isna().all(axis=None), "one validation person has no interval"
    assert "<table" in results._repr_html_()
    assert "<table" in comparison._repr_html_()
    assert [path.name for path in names["files"]] == ["photo.png"]
    assert names["files"][0].is_file()
    assert names["run"].step == names["run"].recipe.total_steps


def test_the_notebook_runs(tmp_path):
    nbformat = pytest.importorskip("nbformat", reason="nbformat is not installed")
    nbclient = pytest.importorskip("nbclient", reason="nbclient is not installed")
    pytest.importorskip("anny", reason="synthetic heads need: pip install enface[synthetic]")
    notebook = nbformat.read(ROOT / "examples" / "first_run.ipynb", 4)
    client = nbclient.NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(tmp_path)}})
    client.execute()
    shown = [output.get("data", {}) for cell in notebook.cells for output in cell.get("outputs", [])]
    assert any("<table" in data.get("text/html", "") for data in shown)


def test_nothing_is_printed_and_nothing_exits(workshop, monkeypatch, capfd, tmp_path):
    monkeypatch.chdir(tmp_path)
    run = enface.train("tiny", overrides=["log.observers=[progress]", "stages.warm.steps=2"])
    assert capfd.readouterr().out == ""
    with pytest.raises(enface.EnfaceError, match="has no checkpoint"):
        enface.evaluate(run, checkpoint="77")
    with pytest.raises(enface.RecipeError, match="only metrics, evaluation and log may change"):
        enface.evaluate(run, overrides=["seed=3"])
    with pytest.raises(enface.EnfaceError, match="evaluate_checkpoints"):
        enface.evaluate(run, checkpoint="all")
    with pytest.raises(enface.EnfaceError, match="is not a run directory"):
        enface.apply(tmp_path, [workshop / "photo.png"], "outputs")
    with pytest.raises(enface.RecipeError, match=r"cannot be read|does not exist"):
        enface.load_recipe("tinny.yaml")


def test_a_run_resumes_through_the_api(tmp_path, monkeypatch):
    pytest.importorskip("anny", reason="synthetic heads need: pip install enface[synthetic]")
    monkeypatch.chdir(tmp_path)
    run = enface.train("tiny", overrides=["log.observers=[]"])
    again = enface.train(run.directory, resume=True)
    assert again.directory == run.directory
    assert again.step == run.step
