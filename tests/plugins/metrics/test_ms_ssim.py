"""MS-SSIM: pytorch-msssim at five scales, and fewer scales on small images."""

from __future__ import annotations

import warnings
from importlib.metadata import version

import pytest
import pytorch_msssim
import torch

from enface import DataInfo, EnfaceError
from enface_plugins.metrics import SSIM, MsSsim


def pair(size, noise=0.1):
    generator = torch.Generator().manual_seed(size)
    coarse = torch.rand(2, 3, 9, 9, generator=generator)
    target = torch.nn.functional.interpolate(coarse, size=size, mode="bilinear")
    return (target + noise * torch.randn(target.shape, generator=generator)).clamp(0, 1), target


@pytest.mark.parametrize("size", [161, 176, 203])
def test_five_scales_are_pytorch_msssims(size):
    output, target = pair(size)
    expected = pytorch_msssim.ms_ssim(output, target, data_range=1.0, size_average=False)
    metric = MsSsim(data=DataInfo.square(size))
    torch.testing.assert_close(metric(output, target), expected, atol=1e-6, rtol=1e-5)
    assert metric.card["implementation"] == f"pytorch-msssim {version('pytorch-msssim')}"


def test_the_card_of_fewer_scales_names_enface():
    for metric in (MsSsim(data=DataInfo.square(160)), MsSsim(data=DataInfo.square(176), scales=4)):
        assert metric.card["implementation"] == "enface"


def test_negative_structure_counts_as_nothing():
    output, target = pair(176, noise=0)
    assert torch.equal(MsSsim(data=DataInfo.square(176))(1 - output, target), torch.zeros(2))


def test_one_scale_is_ssim():
    output, target = pair(40)
    one = MsSsim(data=DataInfo.square(40), scales=1)
    torch.testing.assert_close(one(output, target), SSIM(data=DataInfo.square(40))(output, target), atol=2e-4, rtol=0)


@pytest.mark.parametrize(
    ("size", "scales"),
    [(11, 1), (20, 1), (21, 2), (40, 2), (41, 3), (80, 3), (81, 4), (96, 4), (160, 4), (161, 5)],
)
def test_as_many_scales_as_fit(size, scales):
    metric = MsSsim(data=DataInfo.square(size))
    assert metric.card["scales"] == str(scales)
    assert sum(metric.exponents) == pytest.approx(1.0001)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # pytorch-msssim warns when it skips the window.
        values = metric(*pair(size))
    assert ((values > 0) & (values < 1)).all()


def test_too_many_scales_are_refused_with_advice():
    with pytest.raises(EnfaceError, match=r"5 scales needs images larger than 160 px; these have 96; 4 fit"):
        MsSsim(data=DataInfo.square(96), scales=5)
    with pytest.raises(EnfaceError, match=r"larger than 10 px; these have 8$"):
        MsSsim(data=DataInfo.square(8))
