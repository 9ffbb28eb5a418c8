"""Runs on folders that name splits: test images are never trained on, and the run resumes from its own recipe."""

from __future__ import annotations

import numpy as np
import pytest
import yaml
from PIL import Image

from enface.recipe.load import load_recipe
from enface.training.prepare import prepare_run

RECIPE = {
    "name": "folders",
    "generator": {"use": "unet", "width": 4},
    "stages": {"main": {"steps": 2, "batch": 2, "terms": {"l1": {}}}},
    "metrics": ["mae"],
    "engine": {"device": "cpu", "precision": "fp32"},
    "log": {"samples": 0, "checkpoint": 1, "validate": 1, "best": "mae"},
}
# The share of the training people that validates, and the keys of each layout.
LAYOUTS = {
    "pix2pix": ({"layout": "side_by_side", "split": {"val": 0.25}}, ("train", "test")),
    "joligen": ({"source": "A", "target": "B"}, ("trainA", "trainB", "valA", "valB", "testA", "testB")),
    "around": ({"split": {"val": 2}}, ("Train/source", "Train/target", "Test/source", "Test/target")),
}
PEOPLE = {"train": 8, "val": 2, "test": 3}


def colour(split, person):
    """Images of a split have one blue of their own, so that the tensors tell where they are from."""
    return (person * 20, 40, {"train": 0, "val": 100, "test": 200}[split])


def write(root, folders):
    for folder in folders:
        split = next(name for name in PEOPLE if name in folder.lower())
        (root / folder).mkdir(parents=True)
        for person in range(PEOPLE[split]):
            for shot in range(2):
                width = 64 if folder in ("train", "test") else 32
                pixels = np.full((32, width, 3), colour(split, person), np.uint8)
                Image.fromarray(pixels).save(root / folder / f"{split}{person}_{shot}.png")


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_run_trains_on_the_people_of_train_only(tmp_path, enface, monkeypatch, layout):
    keys, folders = LAYOUTS[layout]
    write(tmp_path / "data", folders)
    monkeypatch.chdir(tmp_path)
    data = {
        "use": "paired_folders",
        "root": str(tmp_path / "data"),
        "size": 32,
        "identity": "(?P<identity>.+)_",
        **keys,
    }
    path = tmp_path / "folders.yaml"
    path.write_text(yaml.safe_dump({**RECIPE, "data": data}))
    run = prepare_run(load_recipe(path))
    blue = {name: set(run.pack.images[rows][:, 2].ravel().tolist()) for name, rows in run.rows.items()}
    people = {name: run.pack.table["identity"].iloc[rows].nunique() for name, rows in run.rows.items()}
    named = layout == "joligen"
    assert blue == {"train": {0}, "val": {100} if named else {0}, "test": {200}}
    assert people == {"train": 8 if named else 6, "val": 2, "test": 3}

    outcome = enface("run", path)
    assert outcome.code == 0, outcome.out + outcome.err
    (saved_as,) = (tmp_path / "runs" / "folders").glob("2*/recipe.yaml")
    saved = yaml.safe_load(saved_as.read_text())["data"]["split"]
    assert (saved["by"], saved["train"], saved["test"]) == ("split", ["train"], ["test"])
    # The saved recipe, with all its defaults, is no contradiction, and neither is the original.
    assert load_recipe(saved_as.parent).recipe.training_digest() == load_recipe(path).recipe.training_digest()
    resumed = enface("run", saved_as.parent, "--resume")
    assert resumed.code == 0, resumed.out + resumed.err


def test_a_contradicting_recipe_ends_with_what_to_write(tmp_path, enface):
    keys, folders = LAYOUTS["joligen"]
    write(tmp_path / "data", folders)
    data = {"use": "paired_folders", "root": str(tmp_path / "data"), **keys, "split": {"train": 8, "test": 3}}
    path = tmp_path / "folders.yaml"
    path.write_text(yaml.safe_dump({**RECIPE, "data": data}))
    outcome = enface("run", path)
    assert outcome.code == 2
    assert "data.split: contradicts the splits that the data names (train, val, test)" in outcome.err
    assert "write {by: split, train: [train], val: [val], test: [test]}" in outcome.err
