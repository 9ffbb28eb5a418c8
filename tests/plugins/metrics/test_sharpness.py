"""Sharpness: energies computed by hand, the effects of blur and noise, and flat images."""

from __future__ import annotations

import pytest
import torch

from enface_plugins.metrics import Sharpness


def stripes(low: float, high: float) -> torch.Tensor:
    """Alternating columns, three steps per row: (1, 3, 4, 4)."""
    return torch.tensor([low, high, low, high]).expand(1, 3, 4, 4).clone()


def test_half_the_contrast_is_a_quarter_of_the_energy():
    ratio = Sharpness()(stripes(0.4, 0.6), stripes(0.3, 0.7))
    # 12 steps of 0.2 in each of 3 channels against 12 of 0.4.
    assert ratio.item() == pytest.approx(0.25, rel=1e-5)


def test_both_directions_count():
    both = stripes(0.0, 1.0)[..., :2, :2] * 0
    both[..., 1, 1] = 1.0  # one step across, one down
    assert Sharpness()(both, stripes(0.0, 1.0)[..., :1, :2]).item() == pytest.approx(2.0, rel=1e-5)


def test_blur_is_below_1_and_noise_above():
    torch.manual_seed(0)
    target = torch.nn.functional.interpolate(torch.rand(2, 3, 8, 8), size=32)
    blurred = torch.nn.functional.avg_pool2d(target, 5, 1, 2)
    noisy = (target + 0.2 * torch.randn(target.shape)).clamp(0, 1)
    metric = Sharpness()
    assert (metric(blurred, target) < 0.5).all()
    assert (metric(noisy, target) > 1.1).all()
    assert metric.score(1.0) > metric.score(0.9) == pytest.approx(metric.score(1.1))


def test_flat_images_are_equally_sharp():
    assert Sharpness()(torch.full((1, 3, 4, 4), 0.2), torch.full((1, 3, 4, 4), 0.7)).item() == 1.0
