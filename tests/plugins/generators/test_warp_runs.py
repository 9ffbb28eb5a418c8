"""The warping generator in recipes: training, resuming, terms on what it provides, partners, and what is refused."""

from __future__ import annotations

import copy
import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

import enface as package
from enface.training.checkpoint import digest
from enface.training.trainer import Trainer
from enface_plugins.generators.warp import Warp

TRUNK = {"use": "unet", "width": 4, "depth": 2}
WARP = {"use": "warp", "trunk": TRUNK, "levels": 3, "features": 4}
BF16 = {"device": "cpu", "precision": "bf16"}


def test_it_trains_in_bf16_and_resumes_exactly(new_trainer):
    content = {"generator": WARP, "engine": BF16, "stages": {"main": {"steps": 4, "optimizer": {"lr": 1e-2}}}}
    content["log"] = {"checkpoint": 2}
    whole = new_trainer(content, "whole")
    first = copy.deepcopy(whole.generator.state_dict())
    whole.train()
    changed = [name for name, value in whole.generator.state_dict().items() if not value.equal(first[name])]
    assert {name.partition(".")[0] for name in changed} == {"trunk", "features"}
    assert all(value.isfinite().all() for value in whole.generator.state_dict().values())
    # As if the process had ended before the second checkpoint.
    (whole.run.checkpoints / "step-00000004.safetensors").unlink()
    again = Trainer(dataclasses.replace(whole.run, step=0))
    assert digest(again.generator) != digest(whole.generator)
    again.train(resume=True)
    assert again.run.step == 4
    assert digest(again.generator) == digest(whole.generator)


@pytest.mark.parametrize(
    "term",
    [
        {"use": "l1", "inputs": {"output": "painted"}},
        {"use": "ssim", "inputs": {"output": "moved_source"}},
        {"use": "l1", "inputs": {"output": "moved_mirror"}},
        {"use": "mask_entropy"},
        {"use": "flow_smoothness"},
    ],
    ids=["painted", "moved source", "moved mirror", "masks", "flow"],
)
def test_a_term_on_anything_that_it_provides_trains_it(bench, term):
    built = bench({"terms": {"l1": False, "one": term}}, generator={**WARP, "images": ["source", "mirror"]})
    before = copy.deepcopy(built.generator.state_dict())
    values = built(built.batch())
    assert values["term/one"].isfinite()
    after = built.generator.state_dict()
    assert any(not after[name].equal(before[name]) for name in before if name.startswith("trunk"))


PAIRS = {
    "pairs": {"partner": {"same": ["identity"], "chance": 1}},
    "generator": {**WARP, "images": ["source", "partner"], "features": 0},
    "log": {"every": 2, "samples": 3, "checkpoint": 3, "validate": 3},
    "engine": {"device": "cpu", "precision": "fp32"},
}


@pytest.fixture(scope="module")
def with_partner(tmp_path_factory) -> Path:
    """A run whose generator samples source and partner."""
    folder = tmp_path_factory.mktemp("partner")
    toy = Path(__file__).parents[2] / "support" / "toy.yaml"
    (folder / "r.yaml").write_text(yaml.safe_dump({"extends": str(toy), **PAIRS}), encoding="utf-8")
    return package.train(package.load_recipe(folder / "r.yaml"), runs=folder / "runs").directory


def test_with_a_partner_it_trains_validates_evaluates_and_reports(with_partner):
    events = [json.loads(line) for line in (with_partner / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    assert {"step", "trained"} <= {event["event"] for event in events}
    summary = json.loads((with_partner / "evaluation" / "summary.json").read_text(encoding="utf-8"))
    assert 0 < summary["metrics"]["mae"]["mean"] < 1
    grids = sorted((with_partner / "samples").glob("*.png"))
    assert grids
    assert all(np.asarray(Image.open(path)).std() > 5 for path in grids)
    assert (with_partner / "report" / "index.html").is_file()


def test_the_evaluation_uses_the_partner(with_partner, enface, monkeypatch):
    """Without the partners' pixels, the outputs have other errors."""

    def measured() -> float:
        outcome = enface("evaluate", with_partner)
        assert outcome.code == 0, outcome.err
        summary = json.loads((with_partner / "evaluation" / "val" / "summary.json").read_text(encoding="utf-8"))
        return summary["metrics"]["mae"]["mean"]

    def without(self, wants, source, partner):
        seen.append(partner)
        return forward(self, wants, source=source, partner=torch.zeros_like(partner))

    seen, forward, before = [], Warp.forward, measured()
    monkeypatch.setattr(Warp, "forward", without)
    assert measured() != before
    assert torch.cat(seen).std() > 0.1


@pytest.mark.parametrize("command", ["apply", "export", "demo"])
def test_a_network_with_a_partner_is_refused_where_only_sources_are_given(with_partner, enface, command, tmp_path):
    Image.new("RGB", (32, 32)).save(tmp_path / "a.png")
    more = [tmp_path / "a.png", "--out", tmp_path / "out"] if command == "apply" else []
    outcome = enface(command, with_partner, *more)
    assert outcome.code == 2
    assert "generator warp computes its output from source and partner" in outcome.err
    assert not (tmp_path / "out").exists()


UNFIT = """
class Halving(Generator):
    \"\"\"Halves the image.\"\"\"

    def __init__(self, *, data: DataInfo):
        super().__init__()
        self.layer = torch.nn.Conv2d(data.channels["source"], data.channels["target"], 2, 2)

    def forward(self, wants, source):
        return {"output": self.layer(source)}

class Coding(Halving):
    \"\"\"Gives codes alone.\"\"\"

    provides = {"code": ("source",)}

class Skipping(Halving):
    \"\"\"Adds the halved image to the whole one.\"\"\"

    def forward(self, wants, source):
        halved = torch.nn.functional.interpolate(self.layer(source), scale_factor=2)
        return {"output": halved + source[:, :1]}
"""


@pytest.mark.parametrize(
    ("generator", "data", "message"),
    [
        ({"trunk": {"use": "unett"}}, {}, "generator.trunk.use: no generator is called 'unett'; did you mean 'unet'?"),
        (
            {"trunk": {"use": "unet", "widht": 4}},
            {},
            "generator.trunk.widht: unknown key 'widht'; did you mean 'width'",
        ),
        ({"trunk": {"use": "unet", "width": "x"}}, {}, "generator.trunk.width: input should be a valid integer"),
        ({}, {}, "generator.trunk: is required and missing"),
        (
            {"trunk": {"use": "halving"}},
            {},
            "trunk: must give a value for each pixel, (N, 10, 32, 32) for N images, not ",
        ),
        ({"trunk": {"use": "coding"}}, {}, "trunk: provides no output, only code; use another one"),
        (
            {"trunk": {"use": "skipping"}},
            {"size": 33},
            "trunk: fails for images of 33 x 33 px (The size of tensor a (32)",
        ),
        (
            {"trunk": {"use": "unet", "width": 4, "depth": 8}},
            {"size": 30},
            "trunk, from 3 to 10 planes: unet with depth: 8 needs images of at least 256 px",
        ),
        (
            {"trunk": {"use": "siamese", "width": 0.125}},
            {"size": 30},
            "trunk, from 3 to 10 planes: siamese needs images whose height and width are a multiple of 16",
        ),
        (
            {"trunk": {"use": "warp", "trunk": TRUNK}},
            {},
            "trunk, from 3 to 10 planes: warp moves pixels from source to",
        ),
        ({"trunk": TRUNK, "levels": 6}, {"size": 16}, "images of 16 px cannot be halved 5 times; use fewer levels"),
        ({"trunk": TRUNK, "levels": 7}, {}, "generator.levels: input should be less than or equal to 6 (given: 7)"),
        ({"trunk": TRUNK}, {"channels": {"source": 3, "target": 1}}, "same planes; source has 3 and target 1"),
        ({"trunk": TRUNK, "images": []}, {}, "images must name at least one image, and each once, not []"),
        (
            {"trunk": TRUNK, "images": ["sorce"]},
            {},
            "generator.images.0: input should be 'source', 'mirror' or 'partner'",
        ),
    ],
    ids=lambda value: None if isinstance(value, dict) else value[:40],
)
def test_check_refuses_what_does_not_fit(enface, recipe, plugin, generator, data, message):
    toy = str(Path(__file__).parents[2] / "support" / "toy_faces.py")
    path = recipe(
        {
            "plugins": [toy, plugin(UNFIT, brings="Halving, Coding, Skipping")],
            "generator": {"use": "warp", "levels": 1, **generator},
            "data": data,
        }
    )
    outcome = enface("check", path, "--data")
    assert outcome.code == 2
    assert f"{path}:" in outcome.err
    assert "generator" in outcome.err.partition(": ")[2]
    assert message in outcome.err


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (
            {"generator": {**WARP, "images": ["partner"]}, "pairs": {"partner": None}},
            "'output' is computed from 'partner', which the batch does not have (add 'pairs.partner')",
        ),
        (
            {"generator": WARP, "stages": {"main": {"terms": {"flow_epe": {}}}}},
            "flow_epe: requests 'source_flow', which nothing provides",
        ),
        (
            {"generator": TRUNK, "stages": {"main": {"terms": {"flow_epe": {}}}}},
            "(use a generator that moves pixels, as warp does)",
        ),
    ],
    ids=["no partner", "no geometry", "no flow"],
)
def test_check_refuses_requests_that_the_data_or_network_cannot_meet(enface, recipe, keys, message):
    outcome = enface("check", recipe(keys), "--data")
    assert outcome.code == 2
    assert ".yaml:" in outcome.err
    assert message in outcome.err
