"""Costs of networks and facts about data in ``enface check``, for a network that can be counted by hand."""

from __future__ import annotations

import json

import pytest

PLUGIN = """
from torch import nn

class OneConvolution(Generator):
    def __init__(self, *, data: DataInfo):
        super().__init__()
        self.first = nn.Conv2d(3, 3, 3, padding=1)
        self.second = nn.Conv2d(3, 3, 1, bias=False)
    @property
    def parts(self):
        return {"first": self.first, "second": self.second}
    def forward(self, wants, source):
        return {"output": self.second(self.first(source))}

class OneMean(Discriminator):
    provides = ("logits",)
    def __init__(self, *, data: DataInfo):
        super().__init__()
        self.layer = nn.Conv2d(3, 1, 32)
    def forward(self, image):
        return {"logits": self.layer(image).flatten(1)}

class Picky(Discriminator):
    provides = ("logits",)
    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm1d(3)
    def forward(self, image):
        return {"logits": self.norm(image.mean((2, 3)))[:, :1]}
"""
PARAMETERS = 3 * 3 * 9 + 3 + 9
FLOP = 2 * 1024 * 3 * (3 * 9) + 2 * 1024 * 3 * 3
IMAGE = 4 * 3 * 32 * 32
"""Bytes of an image of 32 x 32 in float32; each convolution keeps its input."""


@pytest.fixture
def counted(recipe, plugin):
    """Write a recipe with the networks above."""
    file = plugin(PLUGIN, brings="OneConvolution, OneMean, Picky")

    def write(stage, **content):
        stages = {"main": {"steps": 6, "batch": 8, "terms": {"l1": {}}, **stage}}
        generator = {"use": "one_convolution", "width": None}
        path = recipe({"plugins": ["toy_faces", file], "stages": stages, **content})
        text = path.read_text() + f"generator: {json.dumps({'use': generator['use']})}\n"
        path.write_text(text)
        return path

    return write


def main_stage(outcome):
    assert outcome.code == 0, outcome.err
    return json.loads(outcome.out)["stages"]["main"]


def test_parameters_operations_and_memory_are_those_counted_by_hand(counted, enface):
    main = main_stage(enface("check", counted({}), "--json"))
    assert main["generator"] == {
        "use": "one_convolution",
        "parameters": PARAMETERS,
        "trained": PARAMETERS,
        "flop": FLOP,
        "activations": 2 * IMAGE,
    }
    # Weights, gradients and two numbers of Adam for each parameter.
    assert main["memory"] == 4 * 4 * PARAMETERS + 8 * 2 * IMAGE


@pytest.mark.parametrize(
    ("stage", "memory"),
    [
        ({"ema": 0.9}, 5 * 4 * PARAMETERS + 8 * 2 * IMAGE),
        ({"accumulate": 4}, 4 * 4 * PARAMETERS + 2 * 2 * IMAGE),
        ({"optimizer": {"use": "sgd"}}, 2 * 4 * PARAMETERS + 8 * 2 * IMAGE),
        ({"optimizer": {"use": "sgd", "momentum": 0.9}}, 3 * 4 * PARAMETERS + 8 * 2 * IMAGE),
        # The frozen convolution has neither gradients nor states; the second one keeps its own input only.
        ({"freeze": ["first"]}, 4 * (PARAMETERS + 3 * 9) + 8 * IMAGE),
    ],
    ids=["ema", "accumulate", "sgd", "momentum", "freeze"],
)
def test_memory_follows_the_stage(counted, enface, stage, memory):
    assert main_stage(enface("check", counted(stage), "--json"))["memory"] == memory


def test_critics_are_counted_and_see_target_and_output(counted, enface):
    stage = {
        "discriminators": {"mean": {"use": "one_mean"}},
        "terms": {"l1": {}, "gan": {"use": "hinge", "against": "mean"}},
    }
    main = main_stage(enface("check", counted(stage), "--json"))
    assert main["critics"]["mean"] == {
        "use": "one_mean",
        "parameters": 3 * 1024 + 1,
        "trained": 3 * 1024 + 1,
        "flop": 2 * 3 * 1024,
        "activations": IMAGE,
    }
    assert main["memory"] == 4 * 4 * (PARAMETERS + 3 * 1024 + 1) + 8 * 2 * IMAGE + 2 * 8 * IMAGE


def test_a_network_that_refuses_a_single_image_is_measured_on_two(counted, enface):
    stage = {
        "discriminators": {"it": {"use": "picky"}},
        "terms": {"l1": {}, "gan": {"use": "hinge", "against": "it"}},
    }
    assert main_stage(enface("check", counted(stage), "--json"))["critics"]["it"]["parameters"] == 6


def test_a_network_that_cannot_be_built_without_weights_has_no_cost(counted, enface, tmp_path, monkeypatch):
    monkeypatch.setenv("ENFACE_CACHE", str(tmp_path / "cache"))
    stage = {
        "discriminators": {"it": {"use": "projected"}},
        "terms": {"l1": {}, "gan": {"use": "hinge", "against": "it"}},
    }
    outcome = enface("check", counted(stage))
    assert outcome.code == 0, outcome.err
    assert "  critic it: its cost is known with --data only\n" in outcome.out
    assert "memory" not in outcome.out


def test_the_lines_name_parameters_operations_and_memory(counted, enface):
    out = enface("check", counted({"freeze": ["first"]})).out
    assert "  generator: one_convolution, 93 parameters, 9 of them trained, 0.184 MFLOP per image\n" in out
    assert "  memory: about 0.1 MiB in float32 for 8 images, without networks of losses\n" in out


def test_a_step_is_timed_with_data_and_changes_nothing(counted, enface):
    outcome = enface("check", counted({}), "--data")
    assert outcome.code == 0, outcome.err
    import re

    (seconds,) = re.findall(r"  time: (\S+) s per step on cpu; 0:0\d for 6 steps\n", outcome.out)
    assert 0 < float(seconds) < 5
    timing = main_stage(enface("check", counted({}), "--data", "--json"))["timing"]
    assert timing["device"] == "cpu"
    assert timing["peak_memory"] is None


def test_the_generator_is_restored_after_timing(load):
    from enface.training.prepare import build_trainer, prepare_run
    from enface_tools.check.contributions import measure_contributions

    trainer = build_trainer(prepare_run(load()), check=False)
    before = {name: value.clone() for name, value in trainer.generator.state_dict().items()}
    measure_contributions(trainer)
    after = trainer.generator.state_dict()
    assert all((before[name] == after[name]).all() for name in before)


# ------------------------------------------------------------------ data


@pytest.mark.parametrize("dataset", ["paired_folders", "labelled_folder", "multipie"])
@pytest.mark.parametrize("state", ["missing", "empty"])
def test_a_missing_or_empty_root_fails_with_its_line(enface, tmp_path, dataset, state):
    if state == "empty":
        (tmp_path / "photos").mkdir()
    pattern = "  pattern: '(?P<identity>.+)_(?P<pose>.+)'\n" if dataset == "labelled_folder" else ""
    path = tmp_path / "mine.yaml"
    path.write_text(
        f"data:\n  use: {dataset}\n  root: photos\n  size: 64\n{pattern}"
        "generator: {use: unet}\nstages: {main: {steps: 1, terms: {l1: {}}}}\n"
    )
    outcome = enface("check", path)
    assert outcome.code == 2
    assert outcome.err.startswith(f"error: {path}:3: data.root: ")
    assert str(tmp_path / "photos") in outcome.err
    if state == "missing":
        assert outcome.err.endswith(f"{tmp_path / 'photos'} does not exist\n")


def test_missing_files_of_components_are_all_named(enface, recipe, tmp_path):
    masks = {"a": {"use": "points", "file": "a.npy"}, "b": {"use": "points", "file": "b.npy"}}
    outcome = enface("check", recipe({"masks": masks}))
    assert outcome.code == 2
    assert f"masks.a.file: {tmp_path / 'a.npy'} does not exist\n" in outcome.err
    assert f"masks.b.file: {tmp_path / 'b.npy'} does not exist\n" in outcome.err


def test_images_and_classes_of_the_data_are_counted(enface, recipe):
    facts = json.loads(enface("check", recipe({}), "--json").out)["data"]
    assert facts["images"] == 60
    assert facts["classes"]["identity"] == 6
    assert facts["pack_bytes"] == 60 * 32 * 32 * (3 + 1), "with a region map"


def test_a_size_that_a_network_refuses_is_an_error_without_reading_an_image(recipe, enface):
    path = recipe({"generator": {"use": "unet", "width": 4}, "data": {"size": 36}})
    outcome = enface("check", path, "--set", "generator.depth=6")
    assert outcome.code == 2
    message = "unet with depth: 6 needs images of at least 64 px; for size: 36 use 64, or a smaller depth"
    assert f"generator: {message}" in outcome.err
    assert str(path) in outcome.err
    assert "ok" not in outcome.out
