"""The pyramid against SciPy's filters, and the loss against the paper's sum."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage

from enface import DataInfo, RecipeError
from enface_plugins.losses.laplacian_pyramid import LaplacianPyramid, expand, pyramid


def noise(size: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 2 - 1


def smooth(plane: np.ndarray) -> np.ndarray:
    taps = np.array([1, 4, 6, 4, 1]) / 16
    down = ndimage.correlate1d(plane, taps, axis=-2, mode="mirror")
    return ndimage.correlate1d(down, taps, axis=-1, mode="mirror")


def scipy_pyramid(images: np.ndarray, levels: int) -> list[np.ndarray]:
    bands = []
    for _ in range(levels):
        coarse = smooth(images)[..., ::2, ::2]
        spread = np.zeros_like(images)
        spread[..., ::2, ::2] = coarse
        bands.append(images - 4 * smooth(spread))
        images = coarse
    return [*bands, images]


@pytest.mark.parametrize("size", [16, 21, 40])
def test_the_pyramid_is_scipys(size):
    images = noise(size)
    for band, expected in zip(pyramid(images, 2), scipy_pyramid(images.numpy(), 2), strict=True):
        np.testing.assert_allclose(band, expected, atol=1e-12)


@pytest.mark.parametrize("size", [16, 21, 38])
def test_its_levels_add_up_to_the_image(size):
    images = noise(size)
    *bands, whole = pyramid(images, 3)
    for band in reversed(bands):
        whole = band + expand(whole, band.shape[2], band.shape[3])
    torch.testing.assert_close(whole, images)


def test_the_loss_is_the_papers_sum_over_the_number_of_pixels():
    output, target = noise(32), noise(32, seed=1)
    levels = LaplacianPyramid(data=DataInfo.square(32), levels=3)
    first, second = (scipy_pyramid(images.numpy(), 3) for images in (output, target))
    lap1 = sum(4**j * np.abs(a - b).sum((1, 2, 3)) for j, (a, b) in enumerate(zip(first, second, strict=True)))
    error = levels(output, target)
    assert error.shape == output.shape
    np.testing.assert_allclose(error.mean((1, 2, 3)), lap1 / (3 * 32 * 32))


def test_each_level_is_spread_over_the_pixels_it_came_from():
    images = noise(16)
    levels = scipy_pyramid(images.numpy(), 2)
    expected = sum(np.abs(level).repeat(2**j, 2).repeat(2**j, 3) for j, level in enumerate(levels))
    error = LaplacianPyramid(data=DataInfo.square(16), levels=2)(images, torch.zeros_like(images))
    np.testing.assert_allclose(error, expected, atol=1e-12)


@pytest.mark.parametrize("size", [24, 27])
def test_a_shift_in_brightness_is_l1(size):
    flat = torch.zeros(1, 3, size, size)
    error = LaplacianPyramid(data=DataInfo.square(size))(flat + 0.25, flat)
    torch.testing.assert_close(error, flat + 0.25)


def test_an_error_stays_near_its_position():
    output = torch.zeros(1, 1, 64, 64)
    output[..., 10, 10] = 1
    error = LaplacianPyramid(data=DataInfo.square(64), levels=2)(output, torch.zeros_like(output))
    assert error.amax((0, 1)).argmax() == 10 * 64 + 10
    assert torch.equal(error[..., 24:, 24:], torch.zeros(1, 1, 40, 40))


def test_gradients_are_right_and_zero_at_equality():
    loss, target = LaplacianPyramid(data=DataInfo.square(6)), noise(6)[:1, :1]
    output = noise(6, seed=1)[:1, :1].requires_grad_()
    assert torch.autograd.gradcheck(lambda image: loss(image, target), output)
    output = target.clone().requires_grad_()
    loss(output, target).sum().backward()
    assert torch.equal(output.grad, torch.zeros_like(target))


@pytest.mark.parametrize(("size", "levels"), [(5, 1), (8, 1), (9, 2), (32, 3), (96, 5)])
def test_as_many_levels_as_fit(size, levels):
    loss = LaplacianPyramid(data=DataInfo.square(size))
    assert loss.levels == levels
    assert loss(noise(size), noise(size, seed=1)).isfinite().all()
    with pytest.raises(RecipeError, match=rf"{levels + 1} levels do not fit images of {size} px; use at most {levels}"):
        LaplacianPyramid(data=DataInfo.square(size), levels=levels + 1)
