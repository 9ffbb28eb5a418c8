"""Sharpness: energies computed by hand, the effects of blur and noise, and flat images."""

from __future__ import annotations

import pytest
import torch

from enface import DataInfo
from enface_plugins.metrics import Sharpness

DATA = DataInfo.square(96)


def stripes(low: float, high: float) -> torch.Tensor:
    """Alternating columns, three steps per row: (1, 3, 4, 4)."""
    return torch.tensor([low, high, low, high]).expand(1, 3, 4, 4).clone()


def test_half_the_contrast_is_a_quarter_of_the_energy():
    ratio = Sharpness(data=DATA)(stripes(0.4, 0.6), stripes(0.3, 0.7))
    # 12 steps of 0.2 in each of 3 channels against 12 of 0.4.
    assert ratio.item() == pytest.approx(0.25, rel=2e-4)


def test_both_directions_count():
    both = stripes(0.0, 1.0)[..., :2, :2] * 0
    both[..., 1, 1] = 1.0  # one step across, one down
    assert Sharpness(data=DATA)(both, stripes(0.0, 1.0)[..., :1, :2]).item() == pytest.approx(1.5, rel=1e-4), (
        "twice the energy, and 2 - 1/2 of that"
    )


def test_blur_is_below_1_and_noise_above():
    torch.manual_seed(0)
    target = torch.nn.functional.interpolate(torch.rand(2, 3, 8, 8), size=32)
    blurred = torch.nn.functional.avg_pool2d(target, 5, 1, 2)
    noisy = (target + 0.2 * torch.randn(target.shape)).clamp(0, 1)
    metric = Sharpness(data=DATA)
    assert (metric(blurred, target) < 0.5).all()
    assert (metric(noisy, target) > 1.1).all()
    score = metric.direction.score
    assert score(1.0) > score(0.9) == pytest.approx(score(1.1))


def test_more_energy_than_the_targets_is_as_far_from_1_as_less():
    weak, strong = stripes(0.3, 0.5), stripes(0.1, 0.9)
    below, above = Sharpness(data=DATA)(weak, strong).item(), Sharpness(data=DATA)(strong, weak).item()
    assert below == pytest.approx(1 / 16, rel=1e-3)
    assert above == pytest.approx(2 - 1 / 16, rel=1e-4)


def test_a_black_target_does_not_decide_the_mean():
    generator = torch.Generator().manual_seed(0)
    target = torch.rand(4, 3, 16, 16, generator=generator)
    target[3] = 0
    output = torch.cat([target[:3] / 2, torch.rand(1, 3, 16, 16, generator=generator)])
    values = Sharpness(data=DATA)(output, target)
    torch.testing.assert_close(values, torch.tensor([0.25, 0.25, 0.25, 2.0]), atol=1e-3, rtol=0)
    assert Sharpness(data=DATA).bounds == (0.0, 2.0)


def test_rounding_to_8_bits_hardly_counts_beside_a_flat_target():
    flat = torch.full((1, 3, 32, 32), 0.5)
    dithered = flat + (torch.rand(flat.shape, generator=torch.Generator().manual_seed(0)) - 0.5) / 255
    rounded = (dithered * 255).round() / 255
    # The energy of random steps of one level is that of a coin's variance, 1/4 and twice of it, not 1/6.
    assert Sharpness(data=DATA)(rounded, flat).item() == pytest.approx(2 - 1 / 4, abs=0.02)


def test_flat_images_are_equally_sharp():
    assert Sharpness(data=DATA)(torch.full((1, 3, 4, 4), 0.2), torch.full((1, 3, 4, 4), 0.7)).item() == 1.0
