"""The lineage of a recipe."""

from __future__ import annotations

import pytest
import yaml

from enface.errors import RecipeError
from enface.recipe.load import load_mapping, load_recipe
from enface_tools.report.origin import lineage

BASE = {
    "data": {"use": "synthetic_heads", "identities": 4, "split": {"train": 2}},
    "generator": {"use": "unet", "width": 4},
    "stages": {"main": {"steps": 10, "terms": {"l1": {"weight": 1}}}},
}


def write(path, content):
    path.write_text(yaml.safe_dump(content))
    return path


def test_changes_to_the_parent(tmp_path):
    base = write(tmp_path / "base.yaml", BASE)
    child = {"extends": "base.yaml", "name": "child", "stages": {"main": {"terms": {"l1": {"weight": 2}, "ssim": {}}}}}
    assert lineage(load_recipe(write(tmp_path / "child.yaml", child), ["seed=3"]).source) == {
        "recipe": str(tmp_path / "child.yaml"),
        "parent": str(base),
        "changes": [
            {"key": "stages.main.terms.l1.weight", "from": 1, "to": 2},
            {"key": "stages.main.terms.ssim", "from": None, "to": {}},
            {"key": "seed", "from": None, "to": 3},
        ],
        "overrides": ["seed=3"],
    }


def test_a_recipe_without_a_parent_has_only_its_overrides(tmp_path):
    origin = lineage(load_recipe(write(tmp_path / "base.yaml", BASE), ["stages.main.steps=5"]).source)
    assert origin["parent"] is None
    assert origin["changes"] == [{"key": "stages.main.steps", "from": 10, "to": 5}]
    assert lineage(load_recipe(tmp_path / "base.yaml").source)["changes"] == []


def test_a_mapping_is_checked_like_a_file_and_has_no_lineage(tmp_path):
    loaded = load_mapping(BASE, ["stages.main.steps=5"])
    assert loaded.recipe == load_recipe(write(tmp_path / "recipe.yaml", BASE), ["stages.main.steps=5"]).recipe
    assert lineage(loaded.source) == {
        "recipe": "",
        "parent": None,
        "changes": [{"key": "stages.main.steps", "from": 10, "to": 5}],
        "overrides": ["stages.main.steps=5"],
    }
    with pytest.raises(RecipeError, match=r"^stages\.main\.step: unknown key 'step'; did you mean 'steps'\?"):
        load_mapping({**BASE, "stages": {"main": {**BASE["stages"]["main"], "step": 5}}})


def test_dropped_and_replaced_keys(tmp_path):
    write(tmp_path / "base.yaml", BASE)
    terms = {"l1": False, "mse": {}}
    child = {"extends": "base.yaml", "generator": {"use": "siamese"}, "stages": {"main": {"terms": terms}}}
    items = lineage(load_recipe(write(tmp_path / "c.yaml", child)).source)["changes"]
    changes = {item["key"]: (item["from"], item["to"]) for item in items}
    assert changes["generator.use"] == ("unet", "siamese")
    assert changes["generator.width"] == (4, None)
    assert changes["stages.main.terms.l1"] == (None, False)
    assert changes["stages.main.terms.l1.weight"] == (1, None)
