"""A metric with a mask: the weighted mean of its map."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from enface.errors import RecipeError
from enface.plugin.components import DataInfo, Generator
from enface_tools.evaluate.build import MaskedMetric, build_metrics
from enface_tools.evaluate.evaluator import Evaluator, evaluate_network

TOY = str(Path(__file__).parents[2] / "support" / "toy_faces.py")
# Left half three times as heavy as the right.
SIDED = """
class Sided(Mask):
    '''Sided.'''
    def __init__(self, *, left: float = 3.0, size: int = 32):
        super().__init__()
        self.left, self.size = left, size
    def forward(self):
        weights = torch.ones(1, 1, self.size, self.size)
        weights[..., : self.size // 2] = self.left
        return weights
"""
FACE = """
class Face(Mask):
    '''The face of each target.'''
    def forward(self, target_regions): return (target_regions == 1)[:, None].float()
"""
# A map at half the images' size, as metrics of patches have.
COARSE = """
class Coarse(Metric):
    '''Squared error of 2 x 2 means.'''
    higher_is_better = False
    def map(self, output, target):
        return torch.nn.functional.avg_pool2d(output - target, 2).square()
    def forward(self, output, target): return self.map(output, target).flatten(1).mean(1)
"""


@pytest.fixture
def metrics(load, plugin):
    """The metrics of a recipe with the mask ``sided``, and others' own masks and plugins."""

    def build(named, masks=None, body="", brings=""):
        file = plugin(SIDED + body, brings=", ".join(filter(None, ["Sided", brings])))
        loaded = load({"plugins": [file, TOY], "masks": {"sided": {}, **(masks or {})}, "metrics": named})
        return build_metrics(loaded, DataInfo.square(32, {}, None))[0]

    return build


def images(left, right):
    """Target 0 and an output off by ``left`` and ``right`` (one number an image and channel) in its halves."""
    output = torch.zeros(len(left), 3, 32, 32)
    output[..., :16] = torch.tensor(left)[:, :, None, None]
    output[..., 16:] = torch.tensor(right)[:, :, None, None]
    return output, torch.zeros_like(output)


def test_numbers_are_those_worked_by_hand(metrics):
    built = metrics({"mae": {}, "mae_sided": {"use": "mae", "mask": "sided"}})
    pair = images([[0.5, 0.5, 0.5], [0.0, 0.0, 0.6]], [[0.1, 0.1, 0.1], [0.3, 0.6, 0.9]])
    # (3 * 0.5 + 0.1) / 4, and (3 * 0.2 + 0.6) / 4.
    torch.testing.assert_close(built["mae_sided"](*pair), torch.tensor([0.4, 0.3]))
    torch.testing.assert_close(built["mae"](*pair), torch.tensor([0.3, 0.4]))
    assert built["mae_sided"].higher_is_better is built["mae"].higher_is_better is False


def test_a_mask_of_ones_changes_nothing_and_a_scale_neither(metrics):
    masks = {"ones": {"use": "sided", "left": 1.0}, "tens": {"use": "ellipse", "inside": 10, "outside": 10}}
    built = metrics({"mae": {}, "a": {"use": "mae", "mask": "ones"}, "b": {"use": "mae", "mask": "tens"}}, masks)
    pair = torch.rand(4, 3, 32, 32), torch.rand(4, 3, 32, 32)
    for name in ("a", "b"):
        torch.testing.assert_close(built[name](*pair), built["mae"](*pair))


def test_what_a_mask_hides_counts_nothing(metrics):
    built = metrics({"mae": {"mask": "right"}}, {"right": {"use": "sided", "left": 0.0}})
    torch.testing.assert_close(built["mae"](*images([[0.9] * 3], [[0.2] * 3])), torch.tensor([0.2]))


def test_a_schedule_is_taken_at_its_start(metrics):
    inside = {"use": "linear", "start": 4.0, "end": 9.0, "over": 5}
    masks = {"face": {"use": "ellipse", "inside": inside, "outside": 2.0, "falloff": 0}}
    weights = metrics({"mae": {"mask": "face"}}, masks)["mae"].weights
    assert weights.unique().tolist() == [2.0, 4.0]


def test_weights_are_brought_to_the_maps_size(metrics):
    built = metrics({"coarse": {"mask": "sided"}}, body=COARSE, brings="Coarse")
    torch.testing.assert_close(
        built["coarse"](*images([[0.5] * 3], [[0.1] * 3])), torch.tensor([(3 * 0.25 + 0.01) / 4])
    )


def test_a_card_names_the_mask_and_its_bits(metrics):
    masks = {"other": {"use": "sided", "left": 2.0}}
    built = metrics({"mae": {}, "a": {"use": "mae", "mask": "sided"}, "b": {"use": "mae", "mask": "other"}}, masks)
    assert isinstance(built["a"], MaskedMetric)
    plain, first, second = (built[name].card for name in ("mae", "a", "b"))
    assert (first["mask"], second["mask"]) == ("sided", "other")
    assert first["mask_sha256"] != second["mask_sha256"]
    weights = torch.ones(1, 1, 32, 32)
    weights[..., :16] = 3
    assert first["mask_sha256"] == hashlib.sha256(weights.numpy().tobytes()).hexdigest()[:16]
    assert {key: value for key, value in first.items() if not key.startswith("mask")} == plain
    assert built["a"].bounds == (0.0, 1.0), "those of mae"


@pytest.mark.parametrize(
    ("named", "masks", "says"),
    [
        (
            {"ms_ssim": {"mask": "sided"}},
            {},
            r"metrics\.ms_ssim\.mask: metric ms_ssim cannot measure a part of an image",
        ),
        (
            {"mae": {"mask": "face"}},
            {"face": {}},
            r"masks\.face: differs from image to image \(it requests target_regions\)",
        ),
        (
            {"mae": {"mask": "small"}},
            {"small": {"use": "sided", "size": 16}},
            r"masks\.small: gives weights of shape \(1, 1, 16, 16\), but the images are 32 x 32",
        ),
        ({"mae": {"mask": "below"}}, {"below": {"use": "sided", "left": -1.0}}, r"masks\.below: .* negative"),
        (
            {"mae": {"mask": "none"}},
            {"none": {"use": "ellipse", "inside": 0}},
            r"masks\.none: is 0 everywhere .* metric mae would measure nothing",
        ),
        ({"mae": {"mask": "sidde"}}, {}, r"metrics\.mae\.mask: no mask 'sidde'; defined: sided"),
    ],
)
def test_masks_that_cannot_weigh_a_metric_are_refused(metrics, named, masks, says):
    with pytest.raises(RecipeError, match=says):
        metrics(named, masks, FACE, "Face")


def test_a_run_is_measured_with_its_mask(new_trainer, plugin):
    content = {
        "plugins": [plugin(SIDED, brings="Sided"), TOY],
        "masks": {"sided": {}},
        "metrics": {"mae": {}, "mae_sided": {"use": "mae", "mask": "sided"}},
        "log": {"observers": []},
    }
    run = new_trainer(content).run
    evaluator = Evaluator(run)
    summary = evaluate_network(evaluator, Copy())
    frame = pd.read_csv(run.directory / "evaluation" / "images.csv")
    source, target = (run.pack.images[evaluator.rows[role]].astype(np.float64) / 255 for role in ("source", "target"))
    error = np.abs(source - target).mean(1)
    wanted = (3 * error[..., :16].mean((1, 2)) + error[..., 16:].mean((1, 2))) / 4
    np.testing.assert_allclose(frame["mae_sided"], wanted, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(frame["mae"], error.mean((1, 2)), rtol=1e-4, atol=1e-6)
    assert not np.allclose(frame["mae"], frame["mae_sided"], rtol=1e-3)
    assert summary.metrics["mae_sided"].card["mask"] == "sided"
    assert set(summary.metrics["mae_sided"].baselines) == {"source", "mean_target"}


class Copy(Generator):
    """A network whose output is its source."""

    def forward(self, wants, source):
        return {"output": source}
