"""Properties of every image metric: shape, identity, bounds, direction, card."""

from __future__ import annotations

import pytest
import torch

from enface import DataInfo
from enface_plugins.metrics import MAE, PSNR, SSIM, MsSsim

DATA = DataInfo.square(96)

DATA = DataInfo.square(96)
METRICS = [
    pytest.param(MAE(data=DATA), 0.0, 1.0, id="mae"),
    pytest.param(PSNR(data=DATA), 100.0, 0.0, id="psnr"),
    pytest.param(SSIM(data=DATA), 1.0, -1.0, id="ssim"),
    pytest.param(MsSsim(data=DATA), 1.0, 0.0, id="ms_ssim"),
]


@pytest.fixture(scope="module")
def faces():
    """Smooth synthetic images (4, 3, 96, 96) in [0.2, 0.8]."""
    coarse = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    return 0.2 + 0.6 * torch.nn.functional.interpolate(coarse, size=96, mode="bilinear")


@pytest.mark.parametrize(("metric", "best", "worst"), METRICS)
def test_equal_images_score_best(metric, best, worst, faces):
    values = metric(faces, faces)
    assert values.shape == (4,)
    assert values.dtype == torch.float32
    torch.testing.assert_close(values, torch.full((4,), best), atol=1e-5, rtol=0)


@pytest.mark.parametrize(("metric", "best", "worst"), METRICS)
def test_bounds_hold_for_opposite_and_for_random_images(metric, best, worst, faces):
    low, high = sorted((best, worst))
    generator = torch.Generator().manual_seed(1)
    noise = torch.rand(4, 3, 96, 96, generator=generator)
    board = (torch.arange(96)[:, None] + torch.arange(96)[None]) % 2 * torch.ones(4, 3, 1, 1)
    pairs = [
        (torch.zeros_like(faces), torch.ones_like(faces)),
        (faces, 1 - faces),
        (noise, faces),
        (board, 1 - board),
    ]
    for output, target in pairs:
        values = metric(output, target)
        assert torch.isfinite(values).all()
        assert ((values >= low - 1e-5) & (values <= high + 1e-5)).all()


@pytest.mark.parametrize(("metric", "best", "worst"), METRICS)
def test_more_noise_is_worse(metric, best, worst, faces):
    noise = torch.randn(faces.shape, generator=torch.Generator().manual_seed(2))
    means = torch.stack([metric((faces + s * noise).clamp(0, 1), faces).mean() for s in (0, 0.02, 0.1, 0.3)])
    steps = means.diff()
    assert (steps < 0).all() if metric.higher_is_better else (steps > 0).all()


@pytest.mark.parametrize(("metric", "best", "worst"), METRICS)
def test_images_do_not_influence_each_other_and_order_does_not_matter(metric, best, worst, faces):
    other = faces.roll(1, dims=0)
    together = metric(other, faces)
    apart = torch.cat([metric(other[i : i + 1], faces[i : i + 1]) for i in range(4)])
    torch.testing.assert_close(together, apart, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(metric(faces, other), together, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("metric", "best", "worst"), METRICS)
def test_the_card_states_what_makes_values_comparable(metric, best, worst):
    card = metric.card
    assert {"implementation", "data_range", "colour", "crop", "resize"} <= card.keys()
    assert all(isinstance(text, str) and text for text in card.values())
