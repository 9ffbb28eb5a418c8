"""The blur against kornia's, and the reflected border against torch's."""

from __future__ import annotations

import pytest
import torch
from kornia.filters import gaussian_blur2d
from torch.nn.functional import pad

from enface_plugins import filters
from enface_plugins.filters import blur, gaussian_taps


def noise(height: int, width: int) -> torch.Tensor:
    return torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize(("sigma", "radius"), [(1.5, 5), (0.5, 2), (3.0, 9)])
def test_the_gaussian_blur_is_kornias(sigma, radius):
    images, width = noise(10, 13), 2 * radius + 1
    blurred = blur(images, gaussian_taps(sigma, radius))
    torch.testing.assert_close(blurred, gaussian_blur2d(images, (width, width), (sigma, sigma), "reflect"))


def test_the_taps_add_up_and_fall_off_as_a_gaussian():
    taps = gaussian_taps(2.0, 6)
    assert sum(taps) == pytest.approx(1)
    assert taps == taps[::-1]
    assert taps[8] / taps[6] == pytest.approx(0.60653, abs=1e-5)  # exp(-1/2) at one sigma


@pytest.mark.parametrize("by", [1, 4])
def test_reflected_images_are_torchs_with_the_same_gradient(by):
    gradients = []
    for function in (filters._reflected, lambda images, by: pad(images, (by,) * 4, mode="reflect")):
        images = noise(5, 8).requires_grad_()
        padded = function(images, by)
        (padded * torch.arange(padded.numel()).reshape(padded.shape)).sum().backward()
        gradients.append((padded.detach(), images.grad))
    torch.testing.assert_close(gradients[0], gradients[1])
