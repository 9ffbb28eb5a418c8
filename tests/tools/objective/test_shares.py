"""What each term is of the objective: right numbers, and nothing that is touched."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch

from enface.errors import NonFiniteLossError
from enface.train.checkpoint import digest
from enface_tools.objective.shares import INITIAL, stage_shares

OPTIMIZER = {"use": "adam", "lr": 1e-3}
PATCH = {"use": "patch_gan", "width": 4, "layers": 1}
PIXELS = 8 * 3 * 32 * 32
POSE = {"use": "cross_entropy", "inputs": {"logits": "pose_logits", "labels": "pose_class"}, "weight": 0.1}
RAMP = {"use": "linear", "start": 0, "end": 0.1, "over": 50}


def stage(terms, **keys):
    return {"steps": 100, "batch": 8, "optimizer": OPTIMIZER, "terms": terms, **keys}


@pytest.fixture
def looked(new_trainer):
    """The shares of a recipe of one stage, by (player, term)."""

    def look(terms, folder="run", **keys):
        recipe_keys = {key: keys.pop(key) for key in ("masks", "plugins") if key in keys}
        made = new_trainer({"stages": {"main": False, "one": stage(terms, **keys)}, **recipe_keys}, folder)
        (found,) = stage_shares(made)
        return {(share.player, share.term): share for share in found.terms}

    return look


def test_values_are_those_of_the_first_step_of_training(new_trainer):
    content = {
        "stages": {"main": False, "one": {**stage({"l1": {"weight": 3}, "mse": {}, "pose": POSE}), "steps": 1}},
        "log": {"every": 1, "samples": 0},
    }
    (found,) = stage_shares(new_trainer(content, "looked"))
    made = new_trainer(content, "trained")
    made.train()
    lines = map(json.loads, (made.run.directory / "log.jsonl").read_text().splitlines())
    (logged,) = [line["values"] for line in lines if line["event"] == "step"]
    assert found.images == 8
    assert {share.term for share in found.terms} == {"l1", "mse", "pose"}
    for share in found.terms:
        assert share.value == pytest.approx(logged[f"term/{share.term}"], rel=1e-6)
        assert share.weighted == pytest.approx(logged[f"weighted/{share.term}"], rel=1e-6)


def test_shares_are_of_the_players_own_objective(looked):
    found = looked(
        {
            "l1": {"weight": 2},
            "mse": {},
            "gan": {"use": "hinge", "against": "patch", "weight": -0.5},
            "r1": {"against": "patch"},
        },
        discriminators={"patch": PATCH},
    )
    assert list(found) == [
        ("generator", "l1"),
        ("generator", "mse"),
        ("generator", "gan"),
        ("patch", "gan"),
        ("patch", "r1"),
    ]
    for player in ("generator", "patch"):
        mine = [share for (of, _), share in found.items() if of == player]
        whole = sum(abs(share.weight * share.value) for share in mine)
        for share in mine:
            assert share.weighted == pytest.approx(share.weight * share.value)
            assert share.share == pytest.approx(abs(share.weight * share.value) / whole)
    assert found["generator", "gan"].gradient > 0
    assert all(found["patch", name].gradient is None for name in ("gan", "r1"))


def test_the_gradients_share_is_of_the_gradient_into_the_output(looked):
    found = looked({"l1": {"weight": 2}, "mse": {"weight": 3}, "pose": POSE})
    l1, mse, pose = (found["generator", name] for name in ("l1", "mse", "pose"))
    # d mean |d| = sign / n; d mean d^2 = 2 d / n, whose norm is 2 sqrt(mean d^2 / n).
    assert l1.gradient == pytest.approx(2 / math.sqrt(PIXELS), rel=1e-3)
    assert mse.gradient == pytest.approx(3 * 2 * math.sqrt(mse.value / PIXELS), rel=1e-4)
    assert l1.gradient_share == pytest.approx(l1.gradient / (l1.gradient + mse.gradient))
    assert pose.gradient is None, "a code's class has no part in the output"
    assert pose.gradient_share is None
    assert pose.share > 0


def test_a_term_that_does_not_count_yet_has_no_share_and_says_when_it_begins(looked):
    found = looked(
        {
            "l1": {},
            "mse": {"start_at": 40},
            "gan": {"use": "hinge", "against": "patch", "weight": RAMP},
            "charbonnier": {"weight": 0},
            "huber": {"start_at": 41, "every": 4},
        },
        discriminators={"patch": {**PATCH, "start_at": 10, "every": 3}},
    )
    begins = {name: found["generator", name].begins for name in ("l1", "mse", "gan", "charbonnier", "huber")}
    assert begins == {"l1": 0, "mse": 40, "gan": 1, "charbonnier": None, "huber": 44}
    assert found["patch", "gan"].begins == 10
    for key, share in found.items():
        if share.begins != 0:
            assert (share.weighted, share.share, share.gradient, share.gradient_share) == (None,) * 4, key
            assert share.value is not None, "what it would be is known"
    assert found["generator", "l1"].share == 1
    assert found["generator", "gan"].weight == 0
    assert found["generator", "gan"].weight_end == pytest.approx(0.1)


def test_a_term_that_counts_seldom_is_shown_as_its_mean(looked):
    once = looked({"l1": {}, "mse": {}}, folder="once")
    seldom = looked({"l1": {}, "mse": {"every": 16}}, folder="seldom")
    assert seldom["generator", "mse"].every == 16
    assert seldom["generator", "mse"].share == pytest.approx(once["generator", "mse"].share)


def test_units_are_the_losss_own_or_told_from_its_map(looked, plugin):
    body = (
        "class Pixels(Loss):\n    '''P.'''\n    def forward(self, output): return output\n"
        "class Images(Loss):\n    '''I.'''\n    def forward(self, output): return output.mean((1, 2, 3))\n"
        "class Halves(Loss):\n    '''H.'''\n    def forward(self, output): return output[..., ::2, ::2]\n"
        "class Said(Loss):\n    '''S.'''\n    unit = 'per patch'\n    def forward(self, output): return output\n"
    )
    toy = str(Path(__file__).parents[2] / "support" / "toy_faces.py")
    names = {"pixels": "per pixel", "images": "per image", "halves": "per feature", "said": "per patch"}
    found = looked({name: {} for name in names}, plugins=[plugin(body, brings="Pixels, Images, Halves, Said"), toy])
    assert {name: share.unit for (_, name), share in found.items()} == names


def test_looking_changes_nothing_and_says_the_same_again(new_trainer):
    discriminators = {"patch": {**PATCH, "augment": {"use": "diff_augment", "target": 0.6}}}
    terms = {"l1": {}, "gan": {"use": "hinge", "against": "patch"}, "lecam": {"against": "patch"}}
    made = new_trainer({"stages": {"main": False, "one": stage(terms, discriminators=discriminators)}})
    before = digest(made.generator)
    files = sorted(made.run.directory.rglob("*"))
    (name, step), *_ = list(made.built())
    critic = step.critics["patch"]
    modules = (made.generator, critic.module, critic.augment, step.losses["lecam"])
    states = [digest(module) for module in modules]
    glances = made.preview(name, step)
    assert [digest(module) for module in modules] == states
    assert all(parameter.grad is None for module in modules for parameter in module.parameters())
    assert [glance.value for glance in made.preview(name, step)] == [glance.value for glance in glances]
    assert stage_shares(made) == stage_shares(made)
    assert digest(made.generator) == before
    assert sorted(made.run.directory.rglob("*")) == files
    assert made.generator.training
    assert all(parameter.requires_grad for parameter in made.generator.parameters())


def test_a_frozen_stage_and_one_in_parts_can_be_looked_at(new_trainer):
    made = new_trainer(
        {
            "stages": {
                "main": False,
                "frozen": stage({"l1": {}, "mse": {}}, freeze=["encoder"]),
                "parts": stage({"l1": {}, "mse": {}}, accumulate=2),
            }
        }
    )
    frozen, parts = stage_shares(made)
    assert all(share.gradient > 0 for share in (*frozen.terms, *parts.terms))
    assert (frozen.images, parts.images) == (8, 4)


def test_stages_are_looked_at_with_the_weights_they_start_from(new_trainer):
    first = new_trainer({"stages": {"main": {"steps": 40, "terms": {"l1": {}}}}}, "first")
    first.train()
    later = {name: stage({"l1": {}}) for name in ("plain", "filled", "on", "fresh", "branch")}
    later["filled"]["start"] = {"run": str(first.run.directory)}
    later["fresh"]["start"] = "scratch"
    later["branch"]["start"] = {"stage": "filled"}
    made = new_trainer({"stages": {"main": False, **later}}, "second")
    before = digest(made.generator)
    plain, filled, on, fresh, branch = stage_shares(made)
    assert (plain.weights, plain.note) == (INITIAL, "")
    assert filled.weights == f"weights of {first.run.directory}/checkpoints/step-00000040.safetensors"
    assert filled.note == ""
    assert on.weights == branch.weights == filled.weights
    assert "goes on from what stage filled ends with, which is not trained here" in on.note
    assert "starts from what stage filled ends with, which is not trained here" in branch.note
    assert (fresh.weights, fresh.note) == (INITIAL, "")
    values = [found.terms[0].value for found in (plain, filled, on, fresh, branch)]
    untrained, trained = (values[0], values[3]), (values[1], values[2], values[4])
    assert max(trained) < 0.7 * min(untrained)
    assert digest(made.generator) == before


def test_a_term_that_is_not_finite_is_named(looked, plugin):
    body = "class Rotten(Loss):\n    '''R.'''\n    def forward(self, output): return output * float('nan')\n"
    toy = str(Path(__file__).parents[2] / "support" / "toy_faces.py")
    plugins = [plugin(body, brings="Rotten"), toy]
    with pytest.raises(NonFiniteLossError, match="term rotten became NaN"):
        looked({"l1": {}, "rotten": {}}, plugins=plugins)


def test_a_term_that_is_not_finite_before_it_counts_has_no_value(looked, plugin):
    body = "class Rotten(Loss):\n    '''R.'''\n    def forward(self, output): return output * float('nan')\n"
    toy = str(Path(__file__).parents[2] / "support" / "toy_faces.py")
    found = looked({"l1": {}, "rotten": {"start_at": 5}}, plugins=[plugin(body, brings="Rotten"), toy])
    assert found["generator", "rotten"].value is None
    assert found["generator", "l1"].share == 1


def test_a_mask_is_built_once_for_all_terms_and_stages(new_trainer, plugin):
    body = (
        "class Counted(Mask):\n    '''Counted.'''\n    built = 0\n"
        "    def __init__(self):\n        super().__init__()\n        type(self).built += 1\n"
        "        self.number = self.built\n"
        "    def forward(self): return torch.ones(1, 1, 32, 32)\n"
    )
    toy = str(Path(__file__).parents[2] / "support" / "toy_faces.py")
    terms = {"l1": {"mask": "counted"}, "mse": {"mask": "counted"}}
    made = new_trainer(
        {
            "plugins": [plugin(body, brings="Counted"), toy],
            "masks": {"counted": {}},
            "stages": {"main": False, "one": stage(terms), "two": stage(terms)},
        }
    )
    masks = {
        id(term.mask.mask): term.mask.mask for _, step in made.built() for phase in step.phases for term in phase.terms
    }
    assert [mask.number for mask in masks.values()] == [1]


def test_every_number_of_a_report_is_plain(looked):
    found = looked({"l1": {}})
    assert not any(isinstance(value, torch.Tensor) for share in found.values() for value in vars(share).values())
