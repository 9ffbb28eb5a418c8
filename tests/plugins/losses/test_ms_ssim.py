"""The MS-SSIM loss against the metric and pytorch-msssim, and its gradient where the metric has none."""

from __future__ import annotations

import pytest
import pytorch_msssim
import torch

from enface import DataInfo, RecipeError
from enface_plugins import metrics
from enface_plugins.losses.ms_ssim import FLOOR, MsSsim


def pair(size: int) -> tuple[torch.Tensor, torch.Tensor]:
    rng = torch.Generator().manual_seed(size)
    coarse = torch.rand(2, 3, 9, 9, generator=rng) * 1.8 - 0.9
    target = torch.nn.functional.interpolate(coarse, size=size, mode="bilinear")
    return (target + 0.1 * torch.randn(target.shape, generator=rng)).clamp(-1, 1), target


def test_at_five_scales_it_is_one_minus_pytorch_msssims():
    output, target = pair(176)
    expected = 1 - pytorch_msssim.ms_ssim((output + 1) / 2, (target + 1) / 2, data_range=1.0, size_average=False)
    torch.testing.assert_close(MsSsim(data=DataInfo.square(176))(output, target), expected, rtol=0, atol=2e-6)


@pytest.mark.parametrize(("size", "scales"), [(48, None), (96, None), (96, 2)])
def test_with_fewer_scales_it_is_one_minus_the_metric(size, scales):
    output, target = pair(size)
    metric = metrics.MsSsim(data=DataInfo.square(size), scales=scales)
    error = MsSsim(data=DataInfo.square(size), scales=scales)(output, target)
    assert error.shape == (2,)
    assert error.min() > 0.01
    torch.testing.assert_close(error, 1 - metric((output + 1) / 2, (target + 1) / 2))


def test_too_many_scales_are_refused_with_the_size_they_need():
    with pytest.raises(RecipeError, match=r"5 scales needs images larger than 160 px; these have 96; 4 fit"):
        MsSsim(data=DataInfo.square(96), scales=5)
    with pytest.raises(RecipeError, match=r"larger than 10 px; these have 8$"):
        MsSsim(data=DataInfo.square(8))


def test_one_opposite_scale_does_not_cancel_the_others():
    """A factor of 0 cancels all gradients of the metric; in the loss the other scales keep theirs."""
    rng = torch.Generator().manual_seed(0)
    coarse = torch.nn.functional.interpolate(torch.rand(1, 3, 5, 5, generator=rng) - 0.5, size=48, mode="bilinear")
    detail = torch.rand(1, 3, 48, 48, generator=rng) - 0.5
    output, target = (detail - coarse).requires_grad_(), 0.9 * detail + coarse
    loss, metric = MsSsim(data=DataInfo.square(48)), metrics.MsSsim(data=DataInfo.square(48))
    metric((output + 1) / 2, (target + 1) / 2).sum().backward()
    assert torch.equal(output.grad, torch.zeros_like(output))
    error = loss(output, target)
    assert 0.5 < error.item() < 1
    error.sum().backward()
    assert output.grad.isfinite().all()
    assert output.grad.abs().sum() > 0


def test_opposite_images_reach_the_floor_and_equal_ones_zero():
    _, target = pair(48)
    output = (-target).requires_grad_()
    loss = MsSsim(data=DataInfo.square(48))
    error = loss(output, target)
    torch.testing.assert_close(error, torch.full((2,), 1 - FLOOR ** sum(loss.exponents)))
    error.sum().backward()
    assert output.grad.isfinite().all()
    assert torch.equal(loss(target, target), torch.zeros(2))
