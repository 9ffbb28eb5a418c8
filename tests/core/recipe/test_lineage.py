"""Where a recipe came from, as its run directory says."""

from __future__ import annotations

import pytest
import yaml

from enface.errors import RecipeError
from enface.recipe.files import Lineage
from enface.recipe.load import load_mapping, load_recipe

BASE = {
    "data": {"use": "synthetic_heads", "identities": 4, "split": {"train": 2}},
    "generator": {"use": "unet", "width": 4},
    "stages": {"main": {"steps": 10, "terms": {"l1": {"weight": 1}}}},
}


def write(path, content):
    path.write_text(yaml.safe_dump(content))
    return path


def test_what_a_recipe_changes_of_its_parent(tmp_path):
    base = write(tmp_path / "base.yaml", BASE)
    child = {"extends": "base.yaml", "name": "child", "stages": {"main": {"terms": {"l1": {"weight": 2}, "ssim": {}}}}}
    found = load_recipe(write(tmp_path / "child.yaml", child), ["seed=3"]).lineage.dump()
    assert found == {
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
    found = load_recipe(write(tmp_path / "base.yaml", BASE), ["stages.main.steps=5"]).lineage
    assert found.parent is None
    assert found.changes == (("stages.main.steps", 10, 5),)
    assert load_recipe(tmp_path / "base.yaml").lineage.changes == ()


def test_a_mapping_is_checked_like_a_file_and_has_no_lineage(tmp_path):
    loaded = load_mapping(BASE, ["stages.main.steps=5"])
    assert loaded.recipe == load_recipe(write(tmp_path / "recipe.yaml", BASE), ["stages.main.steps=5"]).recipe
    assert loaded.lineage == Lineage("", None, (("stages.main.steps", 10, 5),), ("stages.main.steps=5",))
    with pytest.raises(RecipeError, match=r"^stages\.main\.step: unknown key 'step'; did you mean 'steps'\?"):
        load_mapping({**BASE, "stages": {"main": {**BASE["stages"]["main"], "step": 5}}})


def test_what_is_dropped_or_replaced(tmp_path):
    write(tmp_path / "base.yaml", BASE)
    terms = {"l1": False, "mse": {}}
    child = {"extends": "base.yaml", "generator": {"use": "siamese"}, "stages": {"main": {"terms": terms}}}
    changes = {key: (old, new) for key, old, new in load_recipe(write(tmp_path / "c.yaml", child)).lineage.changes}
    assert changes["generator.use"] == ("unet", "siamese")
    assert changes["generator.width"] == (4, None)
    assert changes["stages.main.terms.l1"] == (None, False)
    assert changes["stages.main.terms.l1.weight"] == (1, None)
