"""Term contributions: correct numbers, and no side effects."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from enface.errors import NonFiniteLossError
from enface.training.checkpoint import digest
from enface_tools.check.contributions import INITIAL, measure_contributions
from enface_tools.check.preview import preview_terms

OPTIMIZER = {"use": "adam", "lr": 1e-3}
PATCH = {"use": "patch_gan", "width": 4, "layers": 1}
PIXELS = 8 * 3 * 32 * 32
POSE = {"use": "cross_entropy", "inputs": {"logits": "pose_logits", "labels": "pose_class"}, "weight": 0.1}
RAMP = {"use": "linear", "start": 0, "end": 0.1, "over": 50}


def stage(terms, **keys):
    return {"steps": 100, "batch": 8, "optimizer": OPTIMIZER, "terms": terms, **keys}


@pytest.fixture
def contributions(new_trainer):
    """Measure the terms of a recipe with one stage: contributions by (player, term)."""

    def measure(terms, folder="run", **keys):
        recipe_keys = {key: keys.pop(key) for key in ("masks", "plugins") if key in keys}
        trainer = new_trainer({"stages": {"main": False, "one": stage(terms, **keys)}, **recipe_keys}, folder)
        (measured,) = measure_contributions(trainer)
        return {(item.player, item.term): item for item in measured.terms}

    return measure


def test_values_are_those_of_the_first_step_of_training(new_trainer):
    content = {
        "stages": {"main": False, "one": {**stage({"l1": {"weight": 3}, "mse": {}, "pose": POSE}), "steps": 1}},
        "log": {"every": 1, "samples": 0},
    }
    (measured,) = measure_contributions(new_trainer(content, "measured"))
    trainer = new_trainer(content, "trained")
    trainer.train()
    lines = map(json.loads, (trainer.run.directory / "log.jsonl").read_text().splitlines())
    (logged,) = [line["values"] for line in lines if line["event"] == "step"]
    assert measured.images == 8
    assert {item.term for item in measured.terms} == {"l1", "mse", "pose"}
    for item in measured.terms:
        assert item.value == pytest.approx(logged[f"term/{item.term}"], rel=1e-6)
        assert item.weighted == pytest.approx(logged[f"weighted/{item.term}"], rel=1e-6)


def test_shares_are_relative_to_the_players_own_objective(contributions):
    terms = contributions(
        {
            "l1": {"weight": 2},
            "mse": {},
            "gan": {"use": "hinge", "against": "patch", "weight": -0.5},
            "r1": {"against": "patch"},
        },
        discriminators={"patch": PATCH},
    )
    assert list(terms) == [
        ("generator", "l1"),
        ("generator", "mse"),
        ("generator", "gan"),
        ("patch", "gan"),
        ("patch", "r1"),
    ]
    for player in ("generator", "patch"):
        mine = [item for (of, _), item in terms.items() if of == player]
        objective = sum(abs(item.weight * item.value) for item in mine)
        for item in mine:
            assert item.weighted == pytest.approx(item.weight * item.value)
            assert item.share == pytest.approx(abs(item.weight * item.value) / objective)
    assert terms["generator", "gan"].gradients["output"].norm > 0
    critic = [terms["patch", name].gradients for name in ("gan", "r1")]
    assert all(set(gradients) == {"all parameters"} for gradients in critic)
    assert sum(gradients["all parameters"].share for gradients in critic) == pytest.approx(1)


def test_gradient_shares_are_relative_to_the_gradient_of_the_output(contributions):
    terms = contributions({"l1": {"weight": 2}, "mse": {"weight": 3}, "pose": POSE})
    l1, mse, pose = (terms["generator", name] for name in ("l1", "mse", "pose"))
    # d mean |d| = sign / n; d mean d^2 = 2 d / n, whose norm is 2 sqrt(mean d^2 / n).
    of_l1, of_mse = l1.gradients["output"], mse.gradients["output"]
    assert of_l1.norm == pytest.approx(2 / math.sqrt(PIXELS), rel=1e-3)
    assert of_mse.norm == pytest.approx(3 * 2 * math.sqrt(mse.value / PIXELS), rel=1e-4)
    assert of_l1.share == pytest.approx(of_l1.norm / (of_l1.norm + of_mse.norm))
    assert pose.gradients["output"] is None, "the class of a code does not depend on the output"
    assert pose.share > 0


def test_a_term_that_does_not_depend_on_the_output_has_its_share_of_the_parameters(contributions):
    terms = contributions({"l1": {}, "pose": {**POSE, "weight": 70}})
    l1, pose = (terms["generator", name].gradients for name in ("l1", "pose"))
    assert list(l1) == list(pose) == ["output", "encoder", "decoder", "heads", "last layer", "all parameters"]
    assert (l1["heads"], pose["decoder"], pose["last layer"]) == (None, None, None)
    assert l1["decoder"].share == l1["last layer"].share == pose["heads"].share == 1
    assert pose["encoder"].share > 0.9
    assert pose["all parameters"].share > 0.9
    whole = sum(pose[place].norm ** 2 for place in ("encoder", "heads"))
    assert pose["all parameters"].norm == pytest.approx(math.sqrt(whole))


# output = tint(scale * source), a shift and a factor per channel; code = rate * scale.
LINEAR = """
class Scale(torch.nn.Module):
    def __init__(self, value):
        super().__init__()
        self.factor = torch.nn.Parameter(torch.tensor(float(value)))
    def forward(self, image): return self.factor * image
class Tint(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.tensor([1.0, 2.0, 3.0]))
        self.bias = torch.nn.Parameter(torch.tensor([0.1, 0.0, -0.1]))
    def forward(self, image):
        return image * self.weight.view(1, 3, 1, 1) + self.bias.view(1, 3, 1, 1)
class Linear(Generator):
    'L.'
    provides = {"output": ("source",), "code": ("source",)}
    def __init__(self):
        super().__init__()
        self.scale, self.rate, self.tint = Scale(0.5), Scale(4.0), Tint()
    @property
    def parts(self): return {"scale": self.scale, "tint": self.tint, "rate": self.rate}
    def forward(self, wants, source=None):
        values = {"output": self.tint(self.scale(source)),
                  "code": self.rate(self.scale(torch.ones(len(source), device=source.device)))}
        return {name: values[name] for name in wants}
class Square(Loss):
    'S.'
    def forward(self, code): return code.square()
"""


def test_gradients_on_parameters_are_those_of_a_closed_form(new_trainer, plugin):
    plugins = [plugin(LINEAR, brings="Linear, Square"), str(Path(__file__).parents[2] / "support" / "toy_faces.py")]
    one = stage({"mse": {"weight": 5}, "square": {"weight": 0.25}})
    trainer = new_trainer({"plugins": plugins, "generator": {"use": "linear"}, "stages": {"main": False, "one": one}})
    (measured,) = measure_contributions(trainer)
    mse, square = (item.gradients for item in measured.terms)
    (name, step), *_ = list(trainer.build_stages())
    batch = trainer.batch_parts(name, step)[0]()
    source, target = (batch[role].double().numpy() for role in ("source", "target"))
    weight, bias = (np.array(values).reshape(3, 1, 1) for values in ([1, 2, 3], [0.1, 0, -0.1]))
    rest = 0.5 * source * weight + bias - target
    # d mean r^2 / d x = 2 mean (r dr/dx)
    scale = 2 * (rest * source * weight).mean()
    by_weight = 2 * (rest * 0.5 * source).mean((0, 2, 3)) / 3
    by_bias = 2 * rest.mean((0, 2, 3)) / 3
    tint = math.sqrt((by_weight**2).sum() + (by_bias**2).sum())
    expected = {"output": 2 * math.sqrt((rest**2).mean() / rest.size), "scale": abs(scale), "tint": tint}
    expected |= {"last layer": tint, "all parameters": math.hypot(scale, tint)}
    assert {place: item.norm for place, item in mse.items() if item is not None} == pytest.approx(
        {place: 5 * norm for place, norm in expected.items()}, rel=1e-4
    )
    # d (rate scale)^2 / d scale = 2 rate^2 scale = 16; / d rate = 2 rate scale^2 = 2.
    expected = {"scale": 16 / 4, "rate": 2 / 4, "all parameters": math.hypot(16, 2) / 4}
    assert {place: item.norm for place, item in square.items() if item is not None} == pytest.approx(expected)
    assert square["scale"].share == pytest.approx(4 / (4 + 5 * abs(scale)), rel=1e-4)
    assert (square["rate"].share, square["output"], square["last layer"], mse["rate"]) == (1, None, None, None)


def test_a_term_that_is_not_applied_yet_has_no_share_but_a_first_step(contributions):
    terms = contributions(
        {
            "l1": {},
            "mse": {"start_at": 40},
            "gan": {"use": "hinge", "against": "patch", "weight": RAMP},
            "charbonnier": {"weight": 0},
            "huber": {"start_at": 41, "every": 4},
        },
        discriminators={"patch": {**PATCH, "start_at": 10, "every": 3}},
    )
    begins = {name: terms["generator", name].begins for name in ("l1", "mse", "gan", "charbonnier", "huber")}
    assert begins == {"l1": 0, "mse": 40, "gan": 1, "charbonnier": None, "huber": 44}
    assert terms["patch", "gan"].begins == 10
    for key, item in terms.items():
        if item.begins != 0:
            assert (item.weighted, item.share) == (None, None), key
            assert not any(item.gradients.values()), key
            assert item.value is not None, "its value is known"
    assert terms["generator", "l1"].share == 1
    assert terms["generator", "gan"].weight == 0
    assert terms["generator", "gan"].weight_end == pytest.approx(0.1)


def test_a_term_that_is_applied_seldom_is_reported_as_its_mean(contributions):
    once = contributions({"l1": {}, "mse": {}}, folder="once")
    seldom = contributions({"l1": {}, "mse": {"every": 16}}, folder="seldom")
    assert seldom["generator", "mse"].every == 16
    assert seldom["generator", "mse"].share == pytest.approx(once["generator", "mse"].share)


def test_units_are_those_of_the_loss_or_derived_from_its_map(contributions, plugin):
    body = (
        "class Pixels(Loss):\n    '''P.'''\n    def forward(self, output): return output\n"
        "class Images(Loss):\n    '''I.'''\n    def forward(self, output): return output.mean((1, 2, 3))\n"
        "class Halves(Loss):\n    '''H.'''\n    def forward(self, output): return output[..., ::2, ::2]\n"
        "class Said(Loss):\n    '''S.'''\n    unit = 'per patch'\n    def forward(self, output): return output\n"
    )
    toy = str(Path(__file__).parents[2] / "support" / "toy_faces.py")
    names = {"pixels": "per pixel", "images": "per image", "halves": "per feature", "said": "per patch"}
    plugins = [plugin(body, brings="Pixels, Images, Halves, Said"), toy]
    terms = contributions({name: {} for name in names}, plugins=plugins)
    assert {name: item.unit for (_, name), item in terms.items()} == names


def test_measuring_changes_nothing_and_is_reproducible(new_trainer):
    discriminators = {"patch": {**PATCH, "augment": {"use": "diff_augment", "target": 0.6}}}
    terms = {"l1": {}, "gan": {"use": "hinge", "against": "patch"}, "lecam": {"against": "patch"}}
    trainer = new_trainer({"stages": {"main": False, "one": stage(terms, discriminators=discriminators)}})
    before = digest(trainer.generator)
    files = sorted(trainer.run.directory.rglob("*"))
    (name, step), *_ = list(trainer.build_stages())
    critic = step.critics["patch"]
    modules = (trainer.generator, critic.module, critic.augment, step.losses["lecam"])
    states = [digest(module) for module in modules]
    previews = preview_terms(step, trainer.batch_parts(name, step)[0])
    assert [digest(module) for module in modules] == states
    assert all(parameter.grad is None for module in modules for parameter in module.parameters())
    assert [preview.value for preview in preview_terms(step, trainer.batch_parts(name, step)[0])] == [
        preview.value for preview in previews
    ]
    assert measure_contributions(trainer) == measure_contributions(trainer)
    assert digest(trainer.generator) == before
    assert sorted(trainer.run.directory.rglob("*")) == files
    assert trainer.generator.training
    assert all(parameter.requires_grad for parameter in trainer.generator.parameters())


def test_frozen_and_accumulating_stages_are_measured(new_trainer):
    trainer = new_trainer(
        {
            "stages": {
                "main": False,
                "frozen": stage({"l1": {}, "mse": {}}, freeze=["encoder"]),
                "parts": stage({"l1": {}, "mse": {}}, accumulate=2),
            }
        }
    )
    frozen, parts = measure_contributions(trainer)
    assert all(item.gradients["output"].norm > 0 for item in (*frozen.terms, *parts.terms))
    assert all("encoder" not in item.gradients for item in frozen.terms), "it is not trained"
    assert (frozen.images, parts.images) == (8, 4)


def test_stages_are_measured_with_their_initial_weights(new_trainer):
    first = new_trainer({"stages": {"main": {"steps": 40, "terms": {"l1": {}}}}}, "first")
    first.train()
    later = {name: stage({"l1": {}}) for name in ("plain", "filled", "on", "fresh", "branch")}
    later["filled"]["start"] = {"run": str(first.run.directory)}
    later["fresh"]["start"] = "scratch"
    later["branch"]["start"] = {"stage": "filled"}
    trainer = new_trainer({"stages": {"main": False, **later}}, "second")
    before = digest(trainer.generator)
    plain, filled, on, fresh, branch = measure_contributions(trainer)
    assert (plain.weights, plain.note) == (INITIAL, "")
    assert filled.weights == f"weights of {first.run.directory}/checkpoints/step-00000040.safetensors"
    assert filled.note == ""
    assert on.weights == branch.weights == filled.weights
    assert "continues from the final weights of stage filled, which is not trained here" in on.note
    assert "starts from the final weights of stage filled, which is not trained here" in branch.note
    assert (fresh.weights, fresh.note) == (INITIAL, "")
    values = [measured.terms[0].value for measured in (plain, filled, on, fresh, branch)]
    untrained, trained = (values[0], values[3]), (values[1], values[2], values[4])
    assert max(trained) < 0.7 * min(untrained)
    assert digest(trainer.generator) == before


def test_a_term_that_is_not_finite_is_named(contributions, plugin):
    body = "class Rotten(Loss):\n    '''R.'''\n    def forward(self, output): return output * float('nan')\n"
    toy = str(Path(__file__).parents[2] / "support" / "toy_faces.py")
    plugins = [plugin(body, brings="Rotten"), toy]
    with pytest.raises(NonFiniteLossError, match="term rotten became NaN"):
        contributions({"l1": {}, "rotten": {}}, plugins=plugins)


def test_a_term_that_is_not_finite_before_it_is_applied_has_no_value(contributions, plugin):
    body = "class Rotten(Loss):\n    '''R.'''\n    def forward(self, output): return output * float('nan')\n"
    toy = str(Path(__file__).parents[2] / "support" / "toy_faces.py")
    terms = contributions({"l1": {}, "rotten": {"start_at": 5}}, plugins=[plugin(body, brings="Rotten"), toy])
    assert terms["generator", "rotten"].value is None
    assert terms["generator", "l1"].share == 1


def test_a_mask_is_built_once_for_all_terms_and_stages(new_trainer, plugin):
    body = (
        "class Counted(Mask):\n    '''Counted.'''\n    built = 0\n"
        "    def __init__(self):\n        super().__init__()\n        type(self).built += 1\n"
        "        self.number = self.built\n"
        "    def forward(self): return torch.ones(1, 1, 32, 32)\n"
    )
    toy = str(Path(__file__).parents[2] / "support" / "toy_faces.py")
    terms = {"l1": {"mask": "counted"}, "mse": {"mask": "counted"}}
    trainer = new_trainer(
        {
            "plugins": [plugin(body, brings="Counted"), toy],
            "masks": {"counted": {}},
            "stages": {"main": False, "one": stage(terms), "two": stage(terms)},
        }
    )
    phases = [phase for _, step in trainer.build_stages() for phase in step.phases]
    masks = {id(term.mask.mask): term.mask.mask for phase in phases for term in phase.terms}
    assert [mask.number for mask in masks.values()] == [1]


def test_every_number_is_plain(contributions):
    terms = contributions({"l1": {}})
    assert not any(isinstance(value, torch.Tensor) for item in terms.values() for value in vars(item).values())
