"""enface evaluate: which checkpoint, which weights, which metrics."""

from __future__ import annotations

import json
import shutil

import pytest

RECIPE = {
    "engine": {"device": "cpu", "precision": "fp32"},
    "generator": {"use": "unet", "width": 4, "depth": 3},
    "stages": {
        "main": False,
        "warm": {"steps": 2, "batch": 4, "terms": {"l1": {}}},
        "own": {"steps": 4, "batch": 4, "ema": 0.5, "optimizer": {"lr": 0.05}, "terms": {"l1": {}}},
    },
    "log": {"checkpoint": 2, "keep": 5, "validate": 2, "best": "l1"},
    "data": {"split": {"train": 3, "val": 1, "test": 2}},
}


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """Folder of the run that all tests copy."""
    return tmp_path_factory.mktemp("kept")


@pytest.fixture
def trained(kept, recipe, enface, tmp_path):
    """A copy of a run with checkpoints at 2, 4 and 6 steps."""
    if not list(kept.iterdir()):
        outcome = enface("run", recipe({"name": "toy", **RECIPE}), "--runs", kept)
        assert outcome.code == 0, outcome.err
    (directory,) = (kept / "toy").iterdir()
    shutil.copytree(directory, tmp_path / "toy")
    return tmp_path / "toy"


def summary(folder):
    return json.loads((folder / "summary.json").read_text())


def test_the_last_one_is_the_runs_own(trained, enface):
    before = summary(trained / "evaluation")
    outcome = enface("evaluate", trained)
    assert outcome.code == 0, outcome.err
    after = summary(trained / "evaluation")
    assert after["metrics"] == before["metrics"]
    assert after["checkpoint"] == {"file": "step-00000006", "weights": "average"}
    assert not (trained / "evaluation" / "checkpoints").exists()


def test_any_other_lies_beside_it(trained, enface):
    before = summary(trained / "evaluation")
    for words, label, step, weights in (
        (["--checkpoint", "4"], "step-00000004", 4, "average"),
        (["--checkpoint", "warm"], "warm", 2, "plain"),
        (["--raw"], "step-00000006-raw", 6, "plain"),
        (["--checkpoint", "best"], "best", None, None),
    ):
        outcome = enface("evaluate", trained, *words)
        assert outcome.code == 0, outcome.err
        folder = trained / "evaluation" / "checkpoints" / label
        assert str(folder) in outcome.out
        contents = summary(folder)
        if step is not None:
            assert (contents["step"], contents["checkpoint"]["weights"]) == (step, weights)
    raw = summary(trained / "evaluation" / "checkpoints" / "step-00000006-raw")
    assert raw["metrics"]["l1"]["mean"] != before["metrics"]["l1"]["mean"]
    assert summary(trained / "evaluation") == before


def test_all_of_them_are_metrics_over_steps(trained, enface):
    outcome = enface("evaluate", trained, "--checkpoint", "all")
    assert outcome.code == 0, outcome.err
    table = json.loads((trained / "evaluation" / "checkpoints.json").read_text())
    assert [item["step"] for item in table.values()] == [2, 4, 6]
    assert all(0 < item["metrics"]["l1"]["mean"] < 1 for item in table.values())


def test_further_metrics_and_regions(trained, enface):
    words = ["metrics.sharpness={}", "evaluation.regions.face.use=face_part", "evaluation.images=4"]
    outcome = enface("evaluate", trained, *(part for word in words for part in ("--set", word)))
    assert outcome.code == 0, outcome.err
    contents = summary(trained / "evaluation")
    assert contents["images"] == 4
    assert set(contents["metrics"]) == {"l1", "sharpness"}
    assert list(contents["regions"]) == ["face"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--set", "stages.own.steps=9"], "only metrics, evaluation and log may change after training"),
        (["--checkpoint", "5"], "has no checkpoint '5'"),
        (["--checkpoint", "own2"], "stages (warm, own)"),
        (["--checkpoint", "5", "--processes", "2"], "has no checkpoint '5'"),
        (["--pairs", "a", "b"], "--pairs is a command of its own now: enface pairs a b"),
    ],
)
def test_what_cannot_be_evaluated(trained, enface, words, message):
    outcome = enface("evaluate", trained, *words)
    assert outcome.code == 2
    assert message in outcome.err.replace("\n", " ")
    assert "Traceback" not in outcome.err


def test_nothing_to_evaluate(enface, tmp_path):
    outcome = enface("evaluate")
    assert outcome.code == 2
    assert "Missing argument 'run'" in outcome.err
    assert enface("evaluate", tmp_path).code == 2
