"""Claims: registered before the first step, and void if claim or recipe change afterwards."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime

import pytest
import yaml

from enface_tools.report.claims import read_claim

CLAIM = {"better": "mae", "than": "other", "by": 0.01, "seeds": 4}


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """Folder of the run that all tests copy."""
    return tmp_path_factory.mktemp("kept")


@pytest.fixture
def content():
    stages = {"main": {"steps": 2, "batch": 2, "terms": {"l1": {}}}}
    return {"name": "idea", "claim": CLAIM, "metrics": {"mae": {}}, "stages": stages, "log": {"every": 1}}


@pytest.fixture
def claiming(kept, recipe, enface, tmp_path, content):
    """A copy of a run that registered a claim."""
    if not list(kept.iterdir()):
        outcome = enface("run", recipe(content), "--runs", kept)
        assert outcome.code == 0, outcome.err
    (directory,) = (kept / "idea").iterdir()
    shutil.copytree(directory, tmp_path / "idea")
    return tmp_path / "idea"


def steps(directory):
    lines = [json.loads(line) for line in (directory / "log.jsonl").read_text().splitlines()]
    return [line["time"] for line in lines if line["event"] == "step"]


def change(file, keys, value):
    """Set a key of a YAML or JSON file."""
    content = yaml.safe_load(file.read_text())
    place = content
    for key in keys[:-1]:
        place = place[key]
    place[keys[-1]] = value
    file.write_text(json.dumps(content) if file.suffix == ".json" else yaml.safe_dump(content))


def test_a_claim_is_registered_before_the_first_step(claiming):
    registered = read_claim(claiming)
    assert registered.claim.model_dump() == CLAIM
    assert registered.text == "better on mae than other by more than 0.01, with 4 seeds or more"
    assert registered.registered.timestamp() < min(steps(claiming))
    page = " ".join((claiming / "report" / "index.html").read_text().split())
    assert f"<b>Claim</b> registered {registered.date}: {registered.text}." in page


def test_a_run_without_a_claim_is_exploratory(recipe, enface, tmp_path, content):
    outcome = enface("run", recipe({**content, "claim": None}), "--runs", tmp_path / "runs")
    assert outcome.code == 0, outcome.err
    (directory,) = (tmp_path / "runs" / "idea").iterdir()
    assert read_claim(directory) is None
    assert not (directory / "claim.json").exists()
    assert "Exploratory: no claim was registered before training." in (directory / "report" / "index.html").read_text()


@pytest.mark.parametrize(
    ("file", "keys", "value"),
    [
        ("recipe.yaml", ("claim", "by"), 0.0),
        ("recipe.yaml", ("claim",), None),
        ("recipe.yaml", ("stages", "main", "terms", "l1", "weight"), 2.0),
        ("recipe.yaml", ("metrics", "mae", "use"), "psnr"),
        ("recipe.yaml", ("evaluation", "images"), 3),
        ("claim.json", ("claim", "by"), 0.0),
        ("claim.json", ("claim", "than"), "weaker"),
        ("claim.json", ("digest",), "0" * 16),
        ("claim.json", ("registered",), "yesterday"),
    ],
)
def test_a_change_after_the_registration_voids_the_claim(claiming, file, keys, value):
    change(claiming / file, keys, value)
    assert read_claim(claiming) is None


def test_a_claim_and_its_recipe_that_both_change_are_void(claiming):
    for file in ("recipe.yaml", "claim.json"):
        change(claiming / file, ("claim", "by"), 0.0)
    assert read_claim(claiming) is None


@pytest.mark.parametrize(
    ("keys", "value"), [(("seed",), 7), (("log", "every"), 9), (("evaluation", "pictures"), False)]
)
def test_keys_that_change_neither_training_nor_numbers_may_change(claiming, keys, value):
    change(claiming / "recipe.yaml", keys, value)
    assert read_claim(claiming) is not None


def test_a_claim_that_was_registered_after_the_first_step_is_none(claiming):
    late = datetime.fromtimestamp(min(steps(claiming)) + 0.001, UTC).isoformat(timespec="milliseconds")
    change(claiming / "claim.json", ("registered",), late)
    assert read_claim(claiming) is None


def test_a_damaged_claim_is_none(claiming):
    (claiming / "claim.json").write_text("{")
    assert read_claim(claiming) is None


def test_a_run_that_starts_over_keeps_its_claim(claiming, enface):
    """Killed before its first checkpoint, a run is resumed from step 0, and its log rewound."""
    before = read_claim(claiming)
    shutil.rmtree(claiming / "checkpoints")
    (claiming / "checkpoints").mkdir()
    outcome = enface("run", claiming, "--resume")
    assert outcome.code == 0, outcome.err
    assert read_claim(claiming) == before


def test_a_claim_names_a_metric_of_the_recipe(recipe, enface, content):
    outcome = enface("check", recipe({**content, "claim": {**CLAIM, "better": "lpips"}}))
    assert outcome.code != 0
    assert "'lpips' is not among the recipe's metrics" in outcome.err
