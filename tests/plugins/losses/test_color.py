"""The colour loss by hand and against SciPy's Gaussian."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage

from enface import DataInfo, RecipeError
from enface_plugins.losses.color import Color


def noise(seed: int, size: int = 24) -> torch.Tensor:
    return torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 2 - 1


@pytest.mark.parametrize("sigma", [1.0, 2.0, 3.0])
def test_it_is_scipys_gaussian(sigma):
    output, target = noise(0), noise(1)
    # SciPy's border mode "mirror" is torch's "reflect".
    first, second = (
        ndimage.gaussian_filter(image.numpy(), (0, 0, sigma, sigma), mode="mirror", truncate=3.0)
        for image in (output, target)
    )
    error = Color(data=DataInfo.square(24), sigma=sigma)(output, target)
    np.testing.assert_allclose(error, np.abs(first - second), atol=1e-12)


def test_a_brightness_offset_counts_fully_and_a_checkerboard_does_not():
    loss = Color(data=DataInfo.square(24), sigma=2.0)
    flat = torch.zeros(1, 3, 24, 24)
    torch.testing.assert_close(loss(flat + 0.3, flat), flat + 0.3)
    checkers = flat.clone()
    checkers[..., ::2, ::2] = checkers[..., 1::2, 1::2] = 1
    assert loss(checkers * 2 - 1, flat).max() < 1e-3


def test_value_and_gradient_are_zero_at_equality():
    output = noise(0).requires_grad_()
    error = Color(data=DataInfo.square(24))(output, output.detach().clone())
    assert torch.equal(error, torch.zeros_like(output))
    error.sum().backward()
    assert torch.equal(output.grad, torch.zeros_like(output))


def test_images_too_small_for_the_blur_are_an_error():
    assert Color(data=DataInfo.square(10), sigma=3.0)(noise(0, 10), noise(1, 10)).shape == (2, 3, 10, 10)
    with pytest.raises(RecipeError, match="sigma 3 needs images of at least 10 px; these have 9"):
        Color(data=DataInfo.square(9), sigma=3.0)
