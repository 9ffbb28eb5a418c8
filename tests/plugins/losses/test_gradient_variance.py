"""Gradient variance: hand-worked patches, what it ignores, and too small images."""

from __future__ import annotations

import pytest
import torch

from enface import DataInfo, RecipeError
from enface_plugins.losses.gradient_variance import GradientVariance


def test_a_step_edge_in_a_patch():
    image = torch.zeros(1, 1, 2, 2)
    image[..., 1] = 1.0
    error = GradientVariance(patch=2, data=DataInfo.square(2))(image, torch.zeros_like(image))
    # Across: 1 and 0 (no neighbour) in both rows, of variance 1/4; down: nothing changes.
    assert error.shape == (1, 2, 1, 1)
    torch.testing.assert_close(error.flatten(), torch.tensor([1 / 16, 0.0]))


def test_the_position_and_sign_of_an_edge_in_the_patch_do_not_matter():
    first, second = torch.zeros(2, 1, 1, 8, 8)
    first[..., 3:] = 1.0
    second[..., :5] = 1.0
    loss = GradientVariance(patch=8, data=DataInfo.square(8))
    assert loss(first, second).abs().max() < 1e-9
    assert loss(first * 0.5, second).max() > 1e-4


def test_a_blurred_image_has_too_little_variance():
    torch.manual_seed(0)
    target = torch.nn.functional.interpolate(torch.rand(2, 3, 8, 8) * 2 - 1, size=32)
    blurred = torch.nn.functional.avg_pool2d(target, 5, 1, 2)
    loss = GradientVariance(data=DataInfo.square(32))
    assert loss._variances(blurred).mean() < 0.5 * loss._variances(target).mean()
    assert loss(blurred, target).shape == (2, 6, 4, 4)


def test_images_smaller_than_a_patch_are_an_error():
    with pytest.raises(RecipeError, match="at least 16 px; these have 8"):
        GradientVariance(patch=16, data=DataInfo.square(8))
