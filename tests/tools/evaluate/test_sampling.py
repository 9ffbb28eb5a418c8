"""The images and masks of an evaluation: the same for every seed, balanced over people and labels."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from enface.data.pairs import split_rows
from enface.training.engine import Engine
from enface.training.run import Run
from enface_tools.evaluate.evaluator import Evaluator, mean_target
from enface_tools.evaluate.sampling import balanced, evaluation_info, uniform
from enface_tools.packs.building import make_pack

RANDOM_TARGET = {"pairs": {"target": {"same": ["identity"]}}}
TOY = str(Path(__file__).parents[2] / "support" / "toy_faces.py")
# Depends on the drawn targets, as a boundary from landmarks does.
OF_TARGETS = """
class OfTargets(Mask):
    '''Mean of three targets.'''
    def __init__(self, *, data: DataInfo):
        super().__init__()
        images = torch.from_numpy(data.targets(3).images).float()
        self.register_buffer("shape", images.mean((0, 1))[None, None] + 1, persistent=False)
    def forward(self): return self.shape
"""


@pytest.fixture
def run(load, tmp_path):
    def build(content, seed=0):
        content = {
            "engine": {"device": "cpu", "precision": "fp32"},
            "data": {"identities": 12, "lights": 6, "split": {"train": 5, "val": 3, "test": 4}},
            "seed": seed,
            **content,
        }
        loaded = load(content)
        pack = make_pack(loaded.recipe, loaded.catalog)
        rows = split_rows(pack.table, loaded.recipe.data.split, seed)
        return Run(tmp_path, loaded, Engine(loaded.recipe.engine), pack, rows)

    return build


def table(people, poses, lights):
    """Every combination, except the frontal image under light 0, which is the target."""
    rows = itertools.product(range(people), range(poses), range(lights))
    content = [(f"{person:03}/{pose}/{light}", f"{person:03}", pose, light) for person, pose, light in rows]
    about = pd.DataFrame(content, columns=["key", "identity", "pose", "light"])
    return about[(about["pose"] > 0) | (about["light"] > 0)].reset_index(drop=True)


def ends(counts):
    return counts.min(), counts.max()


# ------------------------------------------------------------------ pairs


@pytest.mark.parametrize("split", ["val", "test"])
def test_every_seed_is_measured_on_the_same_pairs(run, split):
    content = {**RANDOM_TARGET, "evaluation": {"images": 40}}
    first, second = (Evaluator(run(content, seed), split).about() for seed in (0, 1))
    pd.testing.assert_frame_equal(first, second)
    # 30 candidates a source: the targets are drawn, not always the first one.
    assert first.groupby("identity")["target_key"].nunique().min() > 5


def test_every_seed_has_the_same_mean_target_baseline(run):
    first, second = (mean_target(run(RANDOM_TARGET, seed)) for seed in (0, 1))
    assert (first == second).all()


def test_a_person_has_the_same_pairs_in_every_shuffled_split(run):
    split = {"identities": 12, "lights": 6, "split": {"train": 0.4, "val": 0.2, "test": 0.4, "shuffle": True}}
    abouts = [Evaluator(run({**RANDOM_TARGET, "data": split}, seed)).about() for seed in range(4)]
    pairs = pd.concat([about[["key", "target_key", "identity"]] for about in abouts])
    assert pairs["identity"].nunique() > abouts[0]["identity"].nunique(), "other people in each split"
    assert (pairs.groupby("key")["target_key"].nunique() == 1).all()


def test_pairs_do_not_depend_on_the_order_of_the_table(run):
    prepared = run({**RANDOM_TARGET, "evaluation": {"images": 30}})
    first = Evaluator(prepared).about()
    order = np.random.default_rng(0).permutation(len(prepared.pack.table))
    # Only the table: no image is measured here.
    mixed = prepared.pack.table.iloc[order].reset_index(drop=True)
    prepared.pack = dataclasses.replace(prepared.pack, table=mixed)
    prepared.rows = split_rows(mixed, prepared.recipe.data.split)
    second = Evaluator(prepared).about()
    assert set(zip(first["key"], first["target_key"], strict=True)) == set(
        zip(second["key"], second["target_key"], strict=True)
    )


def test_training_pairs_depend_on_the_seed_as_before(run):
    """The targets that components of training see: of generator [seed, 6]."""
    for seed in (0, 1):
        prepared = run(RANDOM_TARGET, seed)
        pairs = prepared.pairs("train")
        people = prepared.pack.table["identity"].to_numpy()[pairs.sources]
        first = [pairs.sources[np.flatnonzero(people == name)[0]] for name in ("000", "002", "004")]
        rows = pairs.draw(np.array(first), np.random.default_rng([seed, 6]))["target"]
        assert prepared.info.targets(3).keys == tuple(prepared.pack.table["key"].to_numpy()[rows])


@pytest.mark.parametrize("shuffle", [False, True])
def test_the_mask_of_a_metric_is_the_same_for_every_seed(run, plugin, shuffle):
    data = {"identities": 12, "lights": 6, "split": {"train": 0.4, "val": 0.2, "test": 0.4, "shuffle": shuffle}}
    content = {
        **RANDOM_TARGET,
        "data": data,
        "plugins": [plugin(OF_TARGETS, brings="OfTargets"), TOY],
        "masks": {"of_targets": {}},
        "metrics": {"mae": {"mask": "of_targets"}},
    }
    runs = [run(content, seed) for seed in range(3)]
    cards = [Evaluator(prepared).metrics["mae"].card for prepared in runs]
    assert cards[0] == cards[1] == cards[2]
    trained = {prepared.info.targets(3).keys for prepared in runs}
    assert len(trained) > 1, "masks of training follow the seed"


def test_masks_of_metrics_are_of_training_people_unless_the_split_is_shuffled(run):
    prepared = run(RANDOM_TARGET)
    assert [key[:3] for key in evaluation_info(prepared).targets(5).keys] == ["000", "001", "002", "003", "004"]


# ------------------------------------------------------------------ images


def test_numbers_of_keys_are_uniform_and_differ_between_purposes():
    keys = [f"{number}" for number in range(4000)]
    first, second = uniform(keys, "target"), uniform(keys, "image")
    assert first.min() >= 0
    assert first.max() < 1
    # Standard errors: 0.29 / 63 = 0.005 for the mean, 1 / 63 = 0.016 for the correlation.
    assert first.mean() == pytest.approx(0.5, abs=0.02)
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.06


def test_chosen_images_are_balanced_over_people_poses_and_lights():
    about = table(24, 9, 4)
    chosen = about.iloc[balanced(about, 192)]
    assert ends(chosen["identity"].value_counts()) == (8, 8)
    assert ends(chosen["light"].value_counts()) == (48, 48)
    poses = chosen["pose"].value_counts()
    # 192 of 840 images; the frontal pose has 72 of them, every other pose 96.
    assert poses[0] == pytest.approx(192 * 72 / 840, abs=1)
    assert ends(poses.drop(0)) == (pytest.approx(192 * 96 / 840, abs=1),) * 2
    assert (chosen.groupby("identity")["pose"].nunique() == 8).all(), "eight images of a person have eight poses"


def test_lights_are_not_confounded_with_people():
    """Multi-PIE's size: with 10 of 259 images of each person, a person is seen under ten lights and in ten poses."""
    about = table(100, 13, 20)
    chosen = about.iloc[balanced(about, 1000)]
    assert ends(chosen["identity"].value_counts()) == (10, 10)
    people = chosen.groupby("identity")
    assert people["light"].nunique().min() >= 9
    assert people["pose"].nunique().min() >= 9
    assert ends(chosen["light"].value_counts()) == (pytest.approx(50, abs=5),) * 2


def test_people_with_few_images_have_all_of_them_and_others_share_the_rest():
    about = pd.DataFrame({"identity": ["a"] * 2 + ["b"] * 30 + ["c"] * 30})
    about.insert(0, "key", [f"{number}" for number in about.index])
    counts = about.iloc[balanced(about, 22)]["identity"].value_counts()
    assert dict(counts) == {"a": 2, "b": 10, "c": 10}


def test_the_choice_does_not_depend_on_the_order_of_the_table():
    about = table(7, 5, 3)
    about.loc[about["pose"] == 2, "light"] = np.nan
    mixed = about.sample(frac=1, random_state=0).reset_index(drop=True)
    one, two = (item["key"].iloc[balanced(item, 23)] for item in (about, mixed))
    assert set(one) == set(two)
    assert len(set(one)) == 23
    assert list(balanced(about, 23)) == sorted(balanced(about, 23))


@pytest.mark.parametrize("count", [None, 104, 500])
def test_all_images_are_chosen_if_there_are_no_more(count):
    about = table(7, 5, 3)
    assert list(balanced(about, count)) == list(range(98))


def test_more_images_include_fewer():
    about = table(7, 5, 3)
    assert set(balanced(about, 20)) < set(balanced(about, 21))
