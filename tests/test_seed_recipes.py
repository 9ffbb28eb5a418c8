"""The seed system's recipes have its documented settings, and train."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from enface.recipe.load import load_recipe
from enface.system.processes import set_arguments

SEED = Path(__file__).resolve().parents[1] / "recipes" / "seed"
TERMS = ("recon", "con_light", "con_pose", "con_identity", "class_pose", "class_light")
SMALL = ("generator.width=0.125", "metrics=[mae]", "log.checkpoint=1", "log.samples=0")


@pytest.mark.parametrize(
    ("name", "weights"),
    [("same_weights", (1, 1, 1, 1, 1, 1)), ("large_pose_light", (1, 20, 50, 10, 70, 50))],
)
def test_the_first_runs(name, weights):
    recipe = load_recipe(SEED / f"{name}.yaml").recipe
    (stage,) = recipe.stages.values()
    assert (stage.steps, stage.batch) == (100_000, 48)
    assert (stage.optimizer.use, stage.optimizer.lr, stage.optimizer.params["betas"]) == ("adam", 1e-4, [0.7, 0.999])
    assert tuple(stage.terms) == TERMS
    assert tuple(term.weight for term in stage.terms.values()) == weights
    assert [term.use for term in stage.terms.values()] == ["l1", *["contrastive"] * 3, *["cross_entropy"] * 2]
    assert (recipe.data.size, recipe.generator.params["width"]) == (96, 1.0)


@pytest.mark.parametrize("name", ["same_weights", "only_l1_step_decay", "mask_l2_frozen_encoder", "ladder"])
def test_inputs_are_loaded_at_100_and_cropped_to_96(name):
    recipe = load_recipe(SEED / f"{name}.yaml").recipe
    assert (recipe.data.load_size, recipe.data.size) == (100, 96)
    assert recipe.augment.crop.images == ["source", "partner"]
    assert (recipe.augment.crop.share, recipe.augment.flip, recipe.augment.shift) == ([], None, None)
    assert recipe.pairs.target.where == {"pose": 0}
    assert (recipe.pairs.partner.adjacent, recipe.pairs.partner.chance) == ("pose", 0.5)


def test_the_second_run():
    (stage,) = load_recipe(SEED / "only_l1_step_decay.yaml").recipe.stages.values()
    assert (stage.steps, stage.batch, list(stage.terms), stage.freeze) == (50_000, 64, ["recon"], [])
    assert (stage.optimizer.lr.use, stage.optimizer.lr.start) == ("step_decay", 5e-4)
    assert (Path(stage.start.run).name, stage.start.stage) == ("seed-large-pose-light", "disentangle")


@pytest.mark.parametrize(("name", "loss"), [("mask_l1", "l1"), ("mask_l2", "mse")])
def test_the_third_runs(name, loss):
    recipe = load_recipe(SEED / f"{name}_frozen_encoder.yaml").recipe
    assert list(recipe.stages) == [name]
    stage = recipe.stages[name]
    assert (stage.steps, stage.batch, stage.optimizer.lr) == (50_000, 64, 1e-4)
    assert stage.freeze == ["encoder", "heads"]
    assert (Path(stage.start.run).name, stage.start.stage, stage.start.step) == ("seed-only-l1", "only_l1", 28_000)
    (term,) = stage.terms.values()
    assert (term.use, term.weight, term.mask, term.mask_on) == (loss, 1, "boundary", "images")
    assert (recipe.masks["boundary"].params["inside"], recipe.masks["boundary"].params["outside"]) == (5, 1)


@pytest.mark.parametrize("name", ["ladder", "small/ladder"])
def test_the_ladder_has_the_stages_of_the_runs_in_order(name):
    ladder = load_recipe(SEED / f"{name}.yaml").recipe.stages
    runs = ("large_pose_light", "only_l1_step_decay", "mask_l1_frozen_encoder", "mask_l2_frozen_encoder")
    for run in runs:
        ((stage, single),) = load_recipe(SEED / f"{run}.yaml").recipe.stages.items()
        assert ladder[stage].terms == single.terms
        assert ladder[stage].freeze == single.freeze
        if name == "ladder":
            assert ladder[stage].optimizer == single.optimizer
            assert (ladder[stage].steps, ladder[stage].batch) == (
                28_000 if stage == "only_l1" else single.steps,
                single.batch,
            )
    assert ladder["mask_l1"].start == "previous"
    assert ladder["mask_l2"].start.stage == "only_l1"


@pytest.mark.parametrize("name", ["same_weights", "only_l1_step_decay", "mask_l1_frozen_encoder", "ladder"])
def test_overrides_suffice_for_other_data(enface, name):
    overrides = ("data.use=synthetic_heads", "data.split.train=9", "data.identities=12", "masks.boundary.use=ellipse")
    outcome = enface("check", SEED / f"{name}.yaml", *set_arguments(overrides))
    assert outcome.code == 0, outcome.err


@pytest.fixture(scope="module")
def multipie(tmp_path_factory):
    """A folder of noise images named like those of Multi-PIE."""
    root = tmp_path_factory.mktemp("multipie")
    for person in ("001", "002", "003", "004"):
        for camera in ("130", "140", "051", "050"):
            for light in ("00", "07"):
                tone = np.random.default_rng(int(person + camera)).integers(0, 255, (8, 8, 3), np.uint8)
                Image.fromarray(tone).resize((36, 36)).save(root / f"{person}_01_01_{camera}_{light}.png")
    return root


def small(data: Path, *more: str) -> list[str]:
    sizes = ("data.size=32", "data.load_size=34", "data.split.train=3", "data.split.val=0")
    return set_arguments((*SMALL, f"data.root={data}", *sizes, *more))


def test_the_runs_train_in_sequence_on_synthetic_multipie(enface, multipie, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    weights = np.ones((32, 32), np.int8)
    weights[8:24, (8, 23)] = 5
    np.save("boundary.npy", weights)
    for run, stage in (
        ("large_pose_light", "disentangle"),
        ("only_l1_step_decay", "only_l1"),
        ("mask_l1_frozen_encoder", "mask_l1"),
        ("mask_l2_frozen_encoder", "mask_l2"),
    ):
        sets = [f"stages.{stage}.steps=2", f"stages.{stage}.batch=4"]
        if stage.startswith("mask"):
            sets.append(f"stages.{stage}.start.step=1")
        arguments = small(multipie, *sets)
        if stage != "mask_l2":
            arguments += ["--set", "log.keep=9"]
        checked = enface("check", SEED / f"{run}.yaml", *arguments, "--data")
        assert checked.code == 0, checked.err
        trained = enface("run", SEED / f"{run}.yaml", *arguments)
        assert trained.code == 0, trained.err
        assert stage == "disentangle" or "tensors loaded from" in trained.out
    (log,) = Path("runs/seed-mask-l2").glob("*/log.jsonl")
    events = [json.loads(line) for line in log.read_text().splitlines()]
    (loaded,) = [event for event in events if event["event"] == "weights_loaded"]
    assert "seed-only-l1" in loaded["path"]
    assert loaded["kept"] == []


def test_the_ladder_trains_on_synthetic_multipie(enface, multipie, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    stages = ("disentangle", "only_l1", "mask_l1", "mask_l2")
    sets = [f"stages.{stage}.{key}" for stage in stages for key in ("steps=1", "batch=4")]
    outcome = enface("run", SEED / "ladder.yaml", *small(multipie, *sets, "masks.boundary.use=ellipse"))
    assert outcome.code == 0, outcome.err
    assert "stage mask_l2 after only_l1" in outcome.out


def test_a_missing_initial_run_is_reported_with_its_remedy(enface, multipie, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    outcome = enface("run", SEED / "only_l1_step_decay.yaml", *small(multipie))
    assert outcome.code == 2
    assert "seed-large-pose-light has no checkpoint" in outcome.err
