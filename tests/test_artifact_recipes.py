"""The recipes against artifacts: one start, equal steps, an independent judge, the follow-up project's figures."""

from __future__ import annotations

from pathlib import Path

import pytest

from enface.recipe.load import load_recipe

ARTIFACTS = Path(__file__).resolve().parents[1] / "recipes" / "artifacts"
CURES = sorted(path.stem for path in ARTIFACTS.glob("*.yaml") if path.stem != "base")


def stage_of(path: Path):
    (stage,) = load_recipe(path).recipe.stages.values()
    return stage


def test_there_is_a_recipe_for_each_cure():
    wanted = {"perceptual", "lpips", "hinge", "relativistic", "feature_matching", "frequency", "everything"}
    assert wanted | {"control", "v1", "v2", "v3"} == set(CURES)


@pytest.mark.parametrize("name", CURES)
def test_all_go_on_from_one_checkpoint_for_as_many_steps_as_the_control(name):
    stage, control = stage_of(ARTIFACTS / f"{name}.yaml"), stage_of(ARTIFACTS / "control.yaml")
    assert (stage.steps, stage.batch, stage.freeze) == (control.steps, control.batch, control.freeze)
    assert Path(stage.start.run).parts[-2:] == ("runs", "seed-small-ladder")
    assert (stage.start.stage, stage.start.average) == ("mask_l1", True)
    assert stage.start.partial == (name == "v3")


@pytest.mark.parametrize("name", CURES)
def test_the_judge_is_no_part_of_any_objective(name):
    recipe = load_recipe(ARTIFACTS / f"{name}.yaml").recipe
    assert recipe.metrics["lpips"].params["net"] == "alex"
    for stage in recipe.stages.values():
        for term in stage.terms.values():
            trained = [term.params.get(key) for key in ("net", "backbone")]
            assert not any("alex" in str(value) for value in trained)


@pytest.mark.parametrize("name", ["control", "everything"])
def test_the_longer_ones_differ_from_the_others_in_steps_and_sharper_targets_alone(name):
    longer, other = (load_recipe(ARTIFACTS / folder / f"{name}.yaml").recipe for folder in ("longer", "."))
    mine, theirs = longer.dump(), other.dump()
    assert (mine["stages"]["cure"].pop("steps"), theirs["stages"]["cure"].pop("steps")) == (1200, 600)
    for stage in (mine["stages"]["cure"], theirs["stages"]["cure"]):
        assert stage["optimizer"]["lr"].pop("over") in (600, 1200)
    assert mine.pop("augment") == {**theirs.pop("augment"), "sharpen": 0.06 if name == "everything" else None}
    for dumped in (mine, theirs):
        for key in ("name", "log"):
            dumped.pop(key)
    assert mine == theirs


def test_the_control_is_the_masked_l1_of_the_ladder():
    ladder = load_recipe(ARTIFACTS.parent / "seed" / "small" / "ladder.yaml").recipe
    assert stage_of(ARTIFACTS / "control.yaml").terms == ladder.stages["mask_l1"].terms


@pytest.mark.parametrize("name", ["v1", "v2"])
@pytest.mark.parametrize("folder", ["", "followup"])
def test_the_follow_ups_first_tries(folder, name):
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


def test_what_is_real_to_them():
    first, second = (load_recipe(ARTIFACTS / "followup" / f"{name}.yaml").recipe.pairs.target for name in ("v1", "v2"))
    assert (first.where, second.where) == ({"pose": 0}, {"pose": 0, "light": 7})
    assert load_recipe(ARTIFACTS / "v1.yaml").recipe.pairs.target.where == {"pose": 0}


@pytest.mark.parametrize("folder", ["", "followup"])
def test_the_follow_ups_third_try(folder):
    loaded = load_recipe(ARTIFACTS / folder / "v3.yaml").recipe
    (stage,) = loaded.stages.values()
    assert set(loaded.generator.params["codes"]) == {"pose", "light"}
    assert loaded.generator.params["noise"] > 0
    (critic,) = stage.discriminators.values()
    assert critic.use == "attributes"
    assert max(term.weight for term in stage.terms.values()) == 100
    assert [term.use for term in stage.terms.values()].count("cross_entropy") == 6
