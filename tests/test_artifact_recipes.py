"""Recipes against artifacts: common start, equal steps, an independent metric, the follow-up project's settings."""

from __future__ import annotations

from pathlib import Path

import pytest

from enface.recipe.load import load_recipe

ARTIFACTS = Path(__file__).resolve().parents[1] / "recipes" / "artifacts"
RECIPES = sorted(path.stem for path in ARTIFACTS.glob("*.yaml") if path.stem != "base")


def stage_of(path: Path):
    (stage,) = load_recipe(path).recipe.stages.values()
    return stage


def test_there_is_a_recipe_for_each_remedy():
    expected = {"perceptual", "lpips", "hinge", "relativistic", "feature_matching", "frequency", "everything"}
    assert expected | {"control", "v1", "v2", "v3"} == set(RECIPES)


@pytest.mark.parametrize("name", RECIPES)
def test_all_continue_from_one_checkpoint_for_as_many_steps_as_the_control(name):
    stage, control = stage_of(ARTIFACTS / f"{name}.yaml"), stage_of(ARTIFACTS / "control.yaml")
    assert (stage.steps, stage.batch, stage.freeze) == (control.steps, control.batch, control.freeze)
    assert Path(stage.start.run).parts[-2:] == ("runs", "seed-small-ladder")
    assert (stage.start.stage, stage.start.average) == ("mask_l1", True)
    assert stage.start.partial == (name == "v3")


@pytest.mark.parametrize("name", RECIPES)
def test_the_network_of_lpips_is_not_part_of_any_objective(name):
    recipe = load_recipe(ARTIFACTS / f"{name}.yaml").recipe
    assert recipe.metrics["lpips"].params["net"] == "alex"
    for stage in recipe.stages.values():
        for term in stage.terms.values():
            networks = [term.params.get(key) for key in ("net", "backbone")]
            assert not any("alex" in str(network) for network in networks)


@pytest.mark.parametrize("name", ["control", "everything"])
def test_the_longer_recipes_differ_only_in_steps_and_sharper_targets(name):
    longer, shorter = (load_recipe(ARTIFACTS / folder / f"{name}.yaml").recipe for folder in ("longer", "."))
    long, short = longer.dump(), shorter.dump()
    assert (long["stages"]["cure"].pop("steps"), short["stages"]["cure"].pop("steps")) == (1200, 600)
    for stage in (long["stages"]["cure"], short["stages"]["cure"]):
        assert stage["optimizer"]["lr"].pop("over") in (600, 1200)
    assert long.pop("augment") == {**short.pop("augment"), "sharpen": 0.06 if name == "everything" else None}
    for dumped in (long, short):
        for key in ("name", "log"):
            dumped.pop(key)
    assert long == short


def test_the_control_is_the_masked_l1_of_the_ladder():
    ladder = load_recipe(ARTIFACTS.parent / "seed" / "small" / "ladder.yaml").recipe
    assert stage_of(ARTIFACTS / "control.yaml").terms == ladder.stages["mask_l1"].terms


@pytest.mark.parametrize("name", ["v1", "v2"])
@pytest.mark.parametrize("folder", ["", "followup"])
def test_the_follow_ups_first_attempts(folder, name):
    stage = stage_of(ARTIFACTS / folder / f"{name}.yaml")
    assert sorted(term.weight for term in stage.terms.values()) == [0.1, 1, 1, 1, 1, 1, 5]
    assert (stage.terms["gan"].use, stage.terms["gan"].weight) == ("vanilla", 0.1)
    (critic,) = stage.discriminators.values()
    assert critic.every == 6
    assert (stage.optimizer.lr.start, critic.optimizer.lr.start) == (2e-4, 1e-4)
    assert stage.optimizer.params["betas"][0] == critic.optimizer.params["betas"][0] == 0.5
    if folder:
        assert stage.batch == 50
        assert stage.optimizer.lr.milestones == critic.optimizer.lr.milestones == [20_000, 40_000]


def test_the_lights_of_their_real_images():
    first, second = (load_recipe(ARTIFACTS / "followup" / f"{name}.yaml").recipe.pairs.target for name in ("v1", "v2"))
    assert (first.where, second.where) == ({"pose": 0}, {"pose": 0, "light": 7})
    assert load_recipe(ARTIFACTS / "v1.yaml").recipe.pairs.target.where == {"pose": 0}


@pytest.mark.parametrize("folder", ["", "followup"])
def test_the_follow_ups_third_attempt(folder):
    loaded = load_recipe(ARTIFACTS / folder / "v3.yaml").recipe
    (stage,) = loaded.stages.values()
    assert set(loaded.generator.params["codes"]) == {"pose", "light"}
    assert loaded.generator.params["noise"] > 0
    (critic,) = stage.discriminators.values()
    assert critic.use == "attributes"
    assert max(term.weight for term in stage.terms.values()) == 100
    assert [term.use for term in stage.terms.values()].count("cross_entropy") == 6
