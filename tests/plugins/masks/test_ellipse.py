"""The elliptic mask's shape, softness and weights."""

from __future__ import annotations

import math

import pytest
import torch

from enface import DataInfo, RecipeError, Schedule
from enface_plugins.masks.ellipse import Ellipse

DATA = DataInfo.square(size=64)


class Rising(Schedule):
    def __call__(self, step: int) -> float:
        return float(step)


def test_shape_and_range():
    weights = Ellipse(inside=5.0, outside=1.0, data=DATA)(0)
    assert weights.shape == (1, 1, 64, 64)
    assert weights[0, 0, 32, 32] == 5
    assert weights[0, 0, 0, 0] == 1
    assert weights.min() == 1
    assert weights.max() == 5


def test_hard_edge_has_the_ellipse_area():
    weights = Ellipse(axes=(0.5, 0.75), falloff=0.0, data=DATA)(0)
    assert set(weights.unique().tolist()) == {0.0, 1.0}
    assert weights.mean().item() == pytest.approx(math.pi / 4 * 0.5 * 0.75, rel=0.01)


def test_symmetric_about_the_center():
    weights = Ellipse(data=DATA)(0)
    torch.testing.assert_close(weights, weights.flip(-1))
    torch.testing.assert_close(weights, weights.flip(-2))


def test_center_is_x_then_y():
    weights = Ellipse(center=(0.25, 0.75), axes=(0.2, 0.2), falloff=0.0, data=DATA)(0)[0, 0]
    rows, columns = weights.nonzero(as_tuple=True)
    assert (columns + 0.5).mean().item() / 64 == pytest.approx(0.25)
    assert (rows + 0.5).mean().item() / 64 == pytest.approx(0.75)


def test_axes_are_width_then_height():
    weights = Ellipse(axes=(0.25, 0.75), falloff=0.0, data=DATA)(0)[0, 0]
    assert weights.any(0).sum() == 16
    assert weights.any(1).sum() == 48


def test_falloff_is_soft_inside_the_edge_only():
    soft = Ellipse(axes=(0.75, 0.75), falloff=0.5, data=DATA)(0)[0, 0]
    hard = Ellipse(axes=(0.75, 0.75), falloff=0.0, data=DATA)(0)[0, 0]
    assert (soft[hard == 0] == 0).all()
    ray = soft[32, 32:]
    assert (ray.diff() <= 0).all()
    assert ray.diff().abs().max() < 0.2
    # Half way down: r = 0.75, 18 px from the center at a half axis of 24 px.
    assert (ray[17] + ray[18]).item() / 2 == pytest.approx(0.5, abs=0.01)


def test_strengths_follow_their_schedules():
    mask = Ellipse(inside=Rising(), outside=2, data=DATA)
    assert mask(3)[0, 0, 32, 32] == 3
    assert mask(7)[0, 0, 32, 32] == 7
    assert mask(7)[0, 0, 0, 0] == 2
    # With equal weights the mask has no effect.
    assert torch.equal(mask(2), torch.full((1, 1, 64, 64), 2.0))


def test_negative_weight_is_refused():
    with pytest.raises(RecipeError, match="step 0: inside 1, outside -1"):
        Ellipse(outside=-1.0, data=DATA)(0)


def test_it_moves_with_its_module_and_is_not_in_checkpoints():
    mask = Ellipse(data=DATA)
    assert not mask.state_dict()
    assert mask.to(torch.float64)(0).dtype == torch.float64
