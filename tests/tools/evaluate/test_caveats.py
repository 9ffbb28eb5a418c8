"""Caveats: metrics whose network was trained with, and test identities seen in training."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from enface.recipe.load import load_recipe
from enface.recipe.models import EmaModel
from enface.training.checkpoint import read_state
from enface.training.run import latest_checkpoint
from enface.training.trainer import Trainer
from enface_tools.evaluate.caveats import initial_share, metric_networks, run_caveats
from enface_tools.evaluate.results import Results
from enface_tools.evaluate.run import evaluate_trained

RECIPE = """
name: judged
data: {use: synthetic_heads, identities: 6, split: {train: 4, test: 2}}
generator: {use: unet, width: 4}
stages:
  first: {steps: 1, terms: {l1: {}}}
  second:
    steps: 1
    discriminators: {seen: {use: projected, optimizer: {lr: 1.0e-4}}}
    terms:
      deep: {use: lpips, net: vgg}
      gan: {use: hinge, against: seen}
metrics: {mae: {}, alex: {use: lpips, net: alex}, usual: {use: lpips}, vgg: {use: lpips, net: vgg}}
"""


class Split:
    """Of a run, as caveats need it."""

    def __init__(self, loaded, people, train, test, val=()):
        self.loaded = loaded
        info = type("Info", (), {"dataset": "synthetic_heads"})
        self.pack = type("Pack", (), {"table": {"identity": _Column(people)}, "info": info})
        self.rows = {name: np.array(rows, int) for name, rows in (("train", train), ("val", val), ("test", test))}


class _Column:
    def __init__(self, values):
        self._values = values

    def to_numpy(self):
        return np.array(self._values, dtype=object)


@pytest.fixture
def loaded(tmp_path):
    (tmp_path / "judged.yaml").write_text(RECIPE)
    return load_recipe(tmp_path / "judged.yaml")


def test_a_metric_whose_network_was_trained_with_is_reported(loaded):
    networks = metric_networks(loaded)
    assert networks == {"mae": (), "alex": ("alexnet",), "usual": ("alexnet",), "vgg": ("vgg16",)}
    (caveat,) = run_caveats(Split(loaded, ["a", "b"], [0], [1]), networks)
    assert caveat.startswith("vgg uses vgg16, and so does ")
    assert "of stage second: " in caveat


def test_people_in_both_splits_are_reported(loaded):
    people = [f"{number:03}" for number in range(10)]
    caveats = run_caveats(Split(loaded, people, range(7), range(10)), {})
    assert caveats == ["7 of the test identities are also in the training split (000, 001, 002, 003, 004, ...)."]
    assert run_caveats(Split(loaded, people, range(7), range(7, 10)), {}) == []


def test_validation_people_in_training_are_reported_beside_test_people(loaded):
    split = Split(loaded, ["a", "b", "c"], [0, 1], [2], val=[1])
    assert run_caveats(split, {}, "val") == ["1 of the val identities are also in the training split (b)."]
    (caveat,) = run_caveats(split, {}, "test")
    assert caveat.startswith("1 of the val identities are also in the training split (b). Choices made on them")


@pytest.fixture
def started(new_trainer, tmp_path):
    """Train a run of the toy data on two people, then another on the other people, from its weights."""

    def train(start, split, stages=None):
        first = new_trainer(
            {"name": "first", "data": {"split": {"train": ["000", "001"], "val": 0, "test": ["002"]}}}, "first"
        )
        first.train()
        path = first.run.checkpoints / "step-00000006.safetensors"
        start = {"checkpoint": str(path)} if start == "checkpoint" else {"run": str(first.run.directory)}
        content = {"name": "second", "data": {"split": split}, "metrics": ["mae"], "log": {"observers": []}}
        second = new_trainer(content | {"stages": {"main": {"start": start}, **(stages or {})}}, "second")
        second.run.validator = None
        second.train()
        evaluate_trained(second.run, second.network)
        return second

    return train


@pytest.mark.parametrize(
    ("ema", "updates", "share"),
    [
        ({"decay": 0.99, "warmup": False}, 150, 0.99**149),
        ({"decay": 0.99, "warmup": False, "start": 100}, 150, 0.99**49),
        ({"decay": 0.99}, 4, 2 * 3 * 4 / (11 * 12 * 13)),
        ({"decay": 0.99}, 1, 0),
        ({"decay": 0.99, "start": 5}, 5, 0),
    ],
)
def test_the_share_of_the_first_weights_is_the_product_of_the_decays(ema, updates, share):
    assert initial_share(EmaModel.model_validate(ema), updates) == pytest.approx(share)


@pytest.mark.parametrize("warmup", [True, False])
def test_first_weights_that_dominate_a_running_average_have_a_caveat(new_trainer, warmup):
    stage = {"steps": 12, "batch": 2, "ema": {"decay": 0.9, "warmup": warmup}, "terms": {"l1": {}}}
    split = {"train": 4, "val": 0, "test": 2}
    content = {"data": {"split": split}, "metrics": ["mae"], "log": {"observers": []}}
    trainer = new_trainer(content | {"stages": {"main": {**stage, "steps": 1}, "last": stage}})
    trainer.train()
    evaluate_trained(trainer.run, trainer.network)
    caveats = [item for item in Results.read(trainer.run.directory).summary.caveats if "running average" in item]
    expected = "31% of the running average of stage last are still its first weights, after 12 updates"
    assert [item.partition(":")[0] for item in caveats] == ([] if warmup else [expected])
    stages = (trainer.run.directory / "evaluation" / "stages.json").read_text()
    assert ("its first weights" in stages) is not warmup


SPLIT = {"train": ["002", "003"], "val": ["000", "005"], "test": ["001", "004"]}


@pytest.mark.parametrize("start", ["run", "checkpoint"])
def test_people_who_trained_the_weights_of_a_start_are_reported(started, start):
    directory = started(start, SPLIT).run.directory
    (val,) = Results.read(directory, "val").summary.caveats[:1]
    assert val == "1 of the val identities trained the weights that this network started from (000)."
    test = [sentence for sentence in Results.read(directory).summary.caveats if "started from" in sentence]
    assert test == [
        "1 of the test identities trained the weights that this network started from (001).",
        "1 of the val identities trained the weights that this network started from (000). Choices made on them, such "
        "as the best checkpoint, may favour memory.",
    ]


def test_a_chain_of_starts_remembers_all_people(started, new_trainer):
    second = started("run", {"train": ["002", "003"], "val": ["005"], "test": ["004"]})
    content = {"data": {"split": {"train": ["004"], "val": ["005"], "test": ["000", "003"]}}}
    third = new_trainer(content | {"stages": {"main": {"start": {"run": str(second.run.directory)}}}})
    third.train()
    state = read_state(latest_checkpoint(third.run.directory))
    assert state["people"] == {"toy_faces": ["000", "001", "002", "003", "004"]}


def test_a_stage_from_scratch_forgets_the_people_of_a_start(started):
    second = started("run", SPLIT, {"again": {"steps": 1, "start": "scratch", "terms": {"l1": {}}}})
    assert read_state(latest_checkpoint(second.run.directory))["people"] == {"toy_faces": ["002", "003"]}
    assert not [item for item in Results.read(second.run.directory).summary.caveats if "started from" in item]


def test_a_start_whose_people_are_unknown_is_reported(loaded):
    people = {"synthetic_heads": ["a"], "": ["/x/old.safetensors"]}
    (caveat,) = run_caveats(Split(loaded, ["a", "b"], [0], [1]), {}, "test", people)
    assert caveat.startswith(
        "The people who trained /x/old.safetensors, from which this network started, are not known"
    )


def test_people_of_another_dataset_are_others(loaded):
    people = {"synthetic_heads": ["a"], "multipie": ["b"]}
    assert run_caveats(Split(loaded, ["a", "b"], [0], [1]), {}, "test", people) == []


def test_a_resumed_run_knows_the_people_of_its_start(started):
    second = started("run", SPLIT)
    path = latest_checkpoint(second.run.directory)
    (second.run.checkpoints / path.name).unlink()
    again = Trainer(dataclasses.replace(second.run, step=0))
    again.train(resume=True)
    assert read_state(latest_checkpoint(second.run.directory))["people"] == {"toy_faces": ["000", "001", "002", "003"]}
