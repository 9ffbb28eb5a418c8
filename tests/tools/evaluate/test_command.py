"""enface evaluate: which checkpoint, which weights, which metrics."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime

import pandas as pd
import pytest

RECIPE = {
    "engine": {"device": "cpu", "precision": "fp32"},
    "generator": {"use": "unet", "width": 4, "depth": 3},
    "stages": {
        "main": False,
        "warm": {"steps": 2, "batch": 4, "terms": {"l1": {}}},
        "own": {"steps": 4, "batch": 4, "ema": 0.5, "optimizer": {"lr": 0.05}, "terms": {"l1": {}}},
    },
    "log": {"checkpoint": 2, "keep": 5, "validate": 2, "best": "mae"},
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


def openings(run):
    return [json.loads(line) for line in (run / "evaluation" / "openings.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("split", ["val", "test"])
def test_the_last_one_has_the_numbers_of_the_runs_end(trained, enface, split):
    folder = trained / "evaluation" / ("val" if split == "val" else "")
    before = summary(folder)
    outcome = enface("evaluate", trained, *([] if split == "val" else ["--split", split]))
    assert outcome.code == 0, outcome.err
    after = summary(folder)
    assert after["split"] == split
    assert after["metrics"] == before["metrics"]
    assert after["checkpoint"] == {"file": "step-00000006", "weights": "average"}
    assert not (folder / "checkpoints").exists()


def test_validation_people_and_test_people_are_different_people(trained):
    """Of six people three train, one validates and two test; each has ten images, one of them the target."""
    people = {}
    for split, folder in (("val", "evaluation/val"), ("test", "evaluation")):
        people[split] = set(pd.read_csv(trained / folder / "images.csv", dtype=str)["identity"])
        assert summary(trained / folder)["images"] == 9 * len(people[split])
    assert people == {"val": {"003"}, "test": {"004", "005"}}


def test_every_look_at_the_test_people_is_logged(trained, enface):
    (first,) = openings(trained)
    assert (first["by"], list(first["seen"])) == ("run", ["last"]), "stages are compared on validation people"
    assert first["seen"]["last"]["metrics"]["mae"] == summary(trained / "evaluation")["metrics"]["mae"]["mean"]
    for words in ([], ["--checkpoint", "all"], ["--checkpoint", "best"]):
        assert enface("evaluate", trained, *words).code == 0
    assert openings(trained) == [first], "validation people may be seen as often as one likes"
    before = datetime.now(UTC).replace(microsecond=0)
    outcome = enface("evaluate", trained, "--checkpoint", "all", "--split", "test")
    assert outcome.code == 0, outcome.err
    _, second = openings(trained)
    assert second["by"] == "evaluate"
    assert before <= datetime.fromisoformat(second["date"]) <= datetime.now(UTC)
    assert [item["checkpoint"] for item in second["seen"].values()] == [f"step-0000000{step}" for step in (2, 4, 6)]
    assert [item["weights"] for item in second["seen"].values()] == ["plain", "average", "average"]
    assert (second["people"], second["variant"]) == (first["people"], first["variant"])
    table = json.loads((trained / "evaluation" / "checkpoints.json").read_text())
    for label, item in second["seen"].items():
        assert item["metrics"]["mae"] == table[label]["metrics"]["mae"]["mean"]


def test_several_recipes_seen_on_the_same_people_are_a_caveat(recipe, enface, tmp_path):
    runs = tmp_path / "runs"
    steps = {"own": {**RECIPE["stages"]["own"], "ema": None}}
    for name, changes in (("one", {}), ("two", {"seed": 1}), ("three", {"stages": {**RECIPE["stages"], **steps}})):
        outcome = enface("run", recipe({"name": name, **RECIPE, **changes}), "--runs", runs)
        assert outcome.code == 0, outcome.err
        (run,) = (runs / name).iterdir()
        page = (run / "report" / "index.html").read_text()
        caveat = "The test people of these runs were seen 3 times, with 2 recipes"
        # Another seed is the same recipe.
        assert (caveat in outcome.out) == (caveat in page) == (name == "three")
    outcome = enface("compare", runs / "one", runs / "three", "--split", "test", "--out", tmp_path / "out")
    assert outcome.code == 0, outcome.err
    assert "The test people of these runs were seen 2 times, with 2 recipes" in outcome.out
    outcome = enface("compare", runs / "one", runs / "three", "--out", tmp_path / "out")
    assert outcome.code == 0, outcome.err
    assert "test people" not in outcome.out


def test_a_run_can_leave_the_test_people_unseen(recipe, enface, tmp_path):
    path = recipe({"name": "closed", **RECIPE, "evaluation": {"split": "val"}})
    outcome = enface("run", path, "--runs", tmp_path / "runs")
    assert outcome.code == 0, outcome.err
    (run,) = (tmp_path / "runs" / "closed").iterdir()
    assert sorted(path.name for path in (run / "evaluation").iterdir()) == ["val"]
    assert "val split" in (run / "report" / "index.html").read_text()
    assert enface("evaluate", run, "--split", "test").code == 0
    assert [item["by"] for item in openings(run)] == ["evaluate"]
    assert "test split" in (run / "report" / "index.html").read_text()


def test_without_validation_people_test_people_are_opened_deliberately(recipe, enface, tmp_path):
    content = {**RECIPE, "data": {"split": {"train": 3, "val": 0, "test": 3}}, "log": {"checkpoint": 2}}
    outcome = enface("run", recipe({"name": "toy", **content}), "--runs", tmp_path / "runs")
    assert outcome.code == 0, outcome.err
    (run,) = (tmp_path / "runs" / "toy").iterdir()
    assert list(openings(run)[0]["seen"]) == ["last", "stage warm", "stage own"]
    for command in (["evaluate", run], ["compare", run, run]):
        outcome = enface(*command)
        assert outcome.code == 2
        message = "has no validation people; set data.split.val in the recipe and train again, or open the test people"
        assert message in " ".join(outcome.err.split())
    assert enface("evaluate", run, "--split", "test").code == 0
    outcome = enface("run", recipe({"name": "toy", **content, "evaluation": {"split": "val"}}))
    assert outcome.code == 2
    assert "evaluation.split: val needs validation images" in outcome.err


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
        folder = trained / "evaluation" / "val" / "checkpoints" / label
        assert str(folder) in outcome.out
        contents = summary(folder)
        if step is not None:
            assert (contents["step"], contents["checkpoint"]["weights"]) == (step, weights)
    raw = summary(trained / "evaluation" / "val" / "checkpoints" / "step-00000006-raw")
    assert raw["metrics"]["mae"]["mean"] != summary(trained / "evaluation" / "val")["metrics"]["mae"]["mean"]
    assert summary(trained / "evaluation") == before


def test_all_of_them_are_metrics_over_steps(trained, enface):
    outcome = enface("evaluate", trained, "--checkpoint", "all")
    assert outcome.code == 0, outcome.err
    table = json.loads((trained / "evaluation" / "val" / "checkpoints.json").read_text())
    assert not (trained / "evaluation" / "checkpoints.json").exists()
    assert [item["step"] for item in table.values()] == [2, 4, 6]
    assert all(0 < item["metrics"]["mae"]["mean"] < 1 for item in table.values())


def test_further_metrics_and_regions(trained, enface):
    words = ["metrics.sharpness={}", "evaluation.regions.face.use=face_part", "evaluation.images=4"]
    outcome = enface("evaluate", trained, *(part for word in words for part in ("--set", word)))
    assert outcome.code == 0, outcome.err
    contents = summary(trained / "evaluation" / "val")
    assert contents["images"] == 4
    assert set(contents["metrics"]) == {"mae", "sharpness"}
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
