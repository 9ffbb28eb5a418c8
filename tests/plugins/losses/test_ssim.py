"""Structural dissimilarity against the metric, kornia's map and values worked out by hand."""

from __future__ import annotations

import pytest
import torch
from kornia.metrics import ssim

from enface import DataInfo, RecipeError
from enface_plugins import metrics
from enface_plugins.losses.ssim import SSIM

EDGE = 5


def pair(size: int, strength: float, dtype: torch.dtype = torch.float32) -> tuple[torch.Tensor, torch.Tensor]:
    """Smooth images in [-1, 1] and others near them."""
    rng = torch.Generator().manual_seed(size)
    coarse = torch.rand(2, 2, 3, 6, 6, generator=rng, dtype=dtype) * 2 - 1
    target, other = (torch.nn.functional.interpolate(item, size=size, mode="bilinear") for item in coarse)
    return (target + strength * other).clamp(-1, 1), target


@pytest.mark.parametrize("size", [11, 32, 45])
@pytest.mark.parametrize("strength", [1e-3, 0.1, 1.0])
def test_it_is_kornias_map(size, strength):
    output, target = pair(size, strength, torch.float64)
    expected = 1 - ssim((output + 1) / 2, (target + 1) / 2, 11, eps=0.0)
    error = SSIM(data=DataInfo.square(size))(output, target)
    assert error.shape == (2, 3, size, size)
    torch.testing.assert_close(error, expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("strength", [0.1, 1.0])
def test_away_from_the_border_its_mean_is_one_minus_the_metric(strength):
    output, target = pair(48, strength)
    error = SSIM(data=DataInfo.square(48))(output, target)[..., EDGE:-EDGE, EDGE:-EDGE].mean((1, 2, 3))
    similarity = metrics.SSIM(data=DataInfo.square(48))((output + 1) / 2, (target + 1) / 2)
    torch.testing.assert_close(error, 1 - similarity, rtol=0, atol=1e-5)


def test_flat_images_differ_in_luminance_only():
    # In [0, 1] they are 0.75 and 0.25: (0.5^2) / (0.75^2 + 0.25^2 + 1e-4).
    output, target = torch.full((1, 3, 16, 16), 0.5), torch.full((1, 3, 16, 16), -0.5)
    error = SSIM(data=DataInfo.square(16))(output, target)
    torch.testing.assert_close(error, torch.full_like(error, 0.25 / 0.6251))


def test_nearly_equal_images_are_distinguished_in_single_precision():
    output, target = pair(48, 1e-3)
    loss = SSIM(data=DataInfo.square(48))
    error = loss(output, target)
    assert (error > 0).all()
    torch.testing.assert_close(error, loss(output.double(), target.double()).float(), rtol=1e-2, atol=1e-10)
    assert torch.equal(loss(target, target), torch.zeros_like(target))


def test_gradients_are_those_of_the_formula():
    output, target = pair(11, 0.5, torch.float64)
    output, target = output[:1, :1].requires_grad_(), target[:1, :1]
    assert torch.autograd.gradcheck(lambda image: SSIM(data=DataInfo.square(11))(image, target), output)


def test_images_smaller_than_the_window_are_refused():
    with pytest.raises(RecipeError, match="at least 11 px; these have 10"):
        SSIM(data=DataInfo.square(10))
