"""The gradient loss and total variation by hand and against numpy, SciPy and kornia."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from kornia.losses import total_variation
from scipy import ndimage

from enface_plugins.filters import forward_differences
from enface_plugins.losses.gradient import Gradient
from enface_plugins.losses.total_variation import TotalVariation

# Right neighbours differ by 1, -3 | 0, 2; lower ones by 2, 1, 6.
SMALL = torch.tensor([[0.0, 1.0, -2.0], [2.0, 2.0, 4.0]]).reshape(1, 1, 2, 3)


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 2 - 1


def test_differences_are_those_of_numpy_and_zero_at_the_end():
    across, down = forward_differences(SMALL)
    assert torch.equal(across, torch.tensor([[1.0, -3.0, 0.0], [0.0, 2.0, 0.0]]).reshape(1, 1, 2, 3))
    assert torch.equal(down, torch.tensor([[2.0, 1.0, 6.0], [0.0, 0.0, 0.0]]).reshape(1, 1, 2, 3))
    images = noise(2, 3, 7, 9)
    across, down = forward_differences(images)
    np.testing.assert_allclose(across[..., :-1], np.diff(images, axis=3))
    np.testing.assert_allclose(down[..., :-1, :], np.diff(images, axis=2))


# ------------------------------------------------------------------ gradient


def test_gradient_by_differences_by_hand():
    error = Gradient(operator="difference")(SMALL, torch.ones_like(SMALL))
    assert torch.equal(error.flatten(), torch.tensor([1.5, 2.0, 3.0, 0.0, 1.0, 0.0]))


@pytest.mark.parametrize("operator", ["sobel", "difference"])
def test_a_ramp_gives_half_its_slope_and_an_offset_gives_zero(operator):
    loss = Gradient(operator=operator)
    ramp = (torch.arange(8) * 0.1).expand(1, 3, 8, 8)
    error = loss(ramp, torch.zeros_like(ramp))
    torch.testing.assert_close(error[..., 1:-1, 1:-1], torch.full((1, 3, 6, 6), 0.05))
    torch.testing.assert_close(loss(ramp.mT, torch.zeros_like(ramp)), error.mT)
    torch.testing.assert_close(loss(ramp + 0.3, ramp), torch.zeros_like(ramp))


def test_sobel_is_scipys():
    output, target = noise(2, 3, 9, 12), noise(2, 3, 9, 12, seed=1)
    difference = (output - target).numpy()
    expected = np.empty_like(difference)
    for place in np.ndindex(2, 3):
        # SciPy's is 8 times a derivative; its border mode "nearest" repeats the edge.
        down, across = (ndimage.sobel(difference[place], axis=axis, mode="nearest") / 8 for axis in (0, 1))
        expected[place] = (np.abs(across) + np.abs(down)) / 2
    np.testing.assert_allclose(Gradient(operator="sobel")(output, target), expected, atol=1e-12)


@pytest.mark.parametrize("operator", ["sobel", "difference"])
def test_gradients_of_the_gradient_are_right_and_zero_at_equality(operator):
    loss, target = Gradient(operator=operator), noise(1, 1, 4, 5)
    assert torch.autograd.gradcheck(lambda image: loss(image, target), noise(1, 1, 4, 5, seed=1).requires_grad_())
    output = target.clone().requires_grad_()
    loss(output, target).sum().backward()
    assert torch.equal(output.grad, torch.zeros_like(target))


# ------------------------------------------------------------------ total variation


def test_total_variation_by_hand():
    assert torch.equal(TotalVariation()(SMALL).flatten(), torch.tensor([3.0, 4.0, 6.0, 0.0, 2.0, 0.0]))
    squared = TotalVariation(penalty="squared")(SMALL)
    assert torch.equal(squared.flatten(), torch.tensor([5.0, 10.0, 36.0, 0.0, 4.0, 0.0]))


def test_its_sum_is_kornias():
    images = noise(2, 3, 8, 11)
    torch.testing.assert_close(TotalVariation()(images).sum((1, 2, 3)), total_variation(images, "sum").sum(1))


@pytest.mark.parametrize("penalty", ["absolute", "squared"])
def test_a_flat_image_has_no_variation_and_no_gradient(penalty):
    output = torch.full((2, 3, 8, 8), 0.3, requires_grad=True)
    error = TotalVariation(penalty=penalty)(output)
    assert torch.equal(error, torch.zeros_like(output))
    error.sum().backward()
    assert torch.equal(output.grad, torch.zeros_like(output))


def test_the_steepest_image_reaches_the_documented_range():
    checkers = torch.ones(1, 1, 4, 4)
    checkers[..., ::2, ::2] = checkers[..., 1::2, 1::2] = -1
    assert TotalVariation()(checkers).max() == 4
    assert TotalVariation(penalty="squared")(checkers).max() == 8
    assert Gradient(operator="difference")(checkers, -checkers).max() == 4
    assert torch.equal(Gradient()(checkers, -checkers)[..., 1:-1, 1:-1], torch.zeros(1, 1, 2, 2)), (
        "Sobel is blind to it"
    )
