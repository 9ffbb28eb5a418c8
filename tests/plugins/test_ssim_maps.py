"""enface's own SSIM and MS-SSIM against pytorch-msssim."""

from __future__ import annotations

import pytest
import pytorch_msssim
import torch

from enface_plugins.ssim_maps import exponents_for, multi_scale_ssim, planes, similarity


def pair(size: int, noise: float = 0.1) -> tuple[torch.Tensor, torch.Tensor]:
    rng = torch.Generator().manual_seed(size)
    coarse = torch.rand(2, 3, 9, 9, generator=rng)
    target = torch.nn.functional.interpolate(coarse, size=size, mode="bilinear")
    return (target + noise * torch.randn(target.shape, generator=rng)).clamp(0, 1), target


@pytest.mark.parametrize("size", [11, 48, 176, 203])
@pytest.mark.parametrize("noise", [0.0, 0.01, 0.1, 0.5])
def test_the_mean_of_the_map_is_pytorch_msssims_ssim(size, noise):
    output, target = pair(size, noise)
    whole, _ = similarity(planes(output), planes(target))
    assert whole.shape == (1, 6, size - 10, size - 10)
    expected = pytorch_msssim.ssim(output, target, data_range=1.0, size_average=False)
    torch.testing.assert_close(whole[0].unflatten(0, (2, 3)).mean((1, 2, 3)), expected, rtol=0, atol=5e-6)


@pytest.mark.parametrize("size", [161, 176, 203])
@pytest.mark.parametrize("scales", [1, 2, 3, 4, 5])
def test_any_number_of_scales_is_pytorch_msssims_with_these_weights(size, scales):
    output, target = pair(size)
    exponents = exponents_for((size, size), scales)
    expected = pytorch_msssim.ms_ssim(output, target, data_range=1.0, size_average=False, weights=exponents)
    torch.testing.assert_close(multi_scale_ssim(output, target, exponents), expected, rtol=0, atol=5e-6)


def test_five_exponents_are_pytorch_msssims():
    output, target = pair(176)
    expected = pytorch_msssim.ms_ssim(output, target, data_range=1.0, size_average=False)
    torch.testing.assert_close(multi_scale_ssim(output, target, exponents_for((176, 176))), expected, rtol=0, atol=1e-6)
