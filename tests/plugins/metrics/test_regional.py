"""Metrics over regions: values computed by hand, and the meaning of each metric's region."""

from __future__ import annotations

import math

import pytest
import torch

from enface import DataInfo
from enface_plugins.metrics import LPIPS, MAE, PSNR, SSIM, MsSsim, Sharpness
from enface_plugins.pretrained.networks import ALEXNET, VGG16

DATA = DataInfo.square(96)

SIZE = 48
DATA = DataInfo.square(SIZE)
needs_trunks = pytest.mark.skipif(
    ALEXNET.find() is None or VGG16.find() is None, reason="needs: enface weights fetch alexnet vgg16"
)
MAKERS = [
    pytest.param(lambda: MAE(data=DATA), id="mae"),
    pytest.param(lambda: PSNR(data=DATA), id="psnr"),
    pytest.param(lambda: SSIM(data=DATA), id="ssim"),
    pytest.param(lambda: Sharpness(data=DATA), id="sharpness"),
    pytest.param(lambda: LPIPS(data=DATA), id="lpips-alex", marks=needs_trunks),
    pytest.param(lambda: LPIPS(data=DATA, net="vgg"), id="lpips-vgg", marks=needs_trunks),
]


def over(metric, output, target, weights):
    """The values over one region."""
    return metric.regional(output, target, weights)[:, 0]


def half(value: float = 1.0) -> torch.Tensor:
    """Weights on the left half."""
    weights = torch.zeros(1, 1, SIZE, SIZE)
    weights[..., : SIZE // 2] = value
    return weights


@pytest.fixture(scope="module")
def pair():
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(2, 3, 8, 8, generator=generator)
    target = torch.nn.functional.interpolate(coarse, size=SIZE, mode="bilinear")
    return (target + 0.1 * torch.randn(target.shape, generator=generator)).clamp(0, 1), target


@pytest.mark.parametrize("make", MAKERS)
def test_a_region_may_be_the_whole_image(make, pair):
    metric = make()
    assert metric.has_regional
    for weights in (torch.ones(1, 1, SIZE, SIZE), torch.full((2, 1, SIZE, SIZE), 3.0)):
        torch.testing.assert_close(over(metric, *pair, weights), metric(*pair), atol=2e-4, rtol=2e-4)


@pytest.mark.parametrize("make", MAKERS)
def test_the_scale_of_weights_does_not_matter_and_an_empty_region_has_no_value(make, pair):
    metric = make()
    torch.testing.assert_close(over(metric, *pair, half(5.0)), over(metric, *pair, half()), atol=1e-5, rtol=1e-4)
    weights = torch.cat([half(), half(0.0)])
    values = over(metric, *pair, weights)
    assert math.isfinite(values[0])
    assert math.isnan(values[1])


def test_psnr_is_that_of_the_cropped_region(pair):
    cut = tuple(image[..., : SIZE // 2] for image in pair)
    torch.testing.assert_close(over(PSNR(data=DATA), *pair, half()), PSNR(data=DATA)(*cut))


def test_psnr_of_an_equal_region_is_the_highest(pair):
    output = torch.where(half() > 0, pair[1], pair[0])
    assert over(PSNR(data=DATA), output, pair[1], half()).tolist() == [100.0, 100.0]


def test_ssim_is_of_the_windows_centred_in_the_region(pair):
    # The windows around columns 5 to 14 are those of the image cropped after column 19.
    weights = torch.zeros(1, 1, SIZE, SIZE)
    weights[..., :15] = 1
    cut = tuple(image[..., :20] for image in pair)
    torch.testing.assert_close(over(SSIM(data=DATA), *pair, weights), SSIM(data=DATA)(*cut), atol=2e-5, rtol=0)


def test_ssims_region_at_the_border_has_no_window(pair):
    weights = torch.zeros(1, 1, SIZE, SIZE)
    weights[..., :5] = 1
    assert over(SSIM(data=DATA), *pair, weights).isnan().all()


def test_sharpness_is_that_of_the_cropped_region(pair):
    cut = tuple(image[..., : SIZE // 2] for image in pair)
    torch.testing.assert_close(over(Sharpness(data=DATA), *pair, half()), Sharpness(data=DATA)(*cut))


def test_ms_ssim_has_too_large_windows_for_a_region():
    assert not MsSsim(data=DATA).has_regional


@needs_trunks
@pytest.mark.parametrize("net", ["alex", "vgg"])
def test_lpips_is_the_packages_map_if_weights_are_as_coarse_as_its_deepest_layer(net, pair):
    # The package enlarges each layer's map and adds them; over half the image both must be close.
    metric = LPIPS(data=DATA, net=net)
    metric.network.spatial = True
    enlarged = metric.network(2 * pair[0] - 1, 2 * pair[1] - 1)
    metric.network.spatial = False
    expected = enlarged[..., : SIZE // 2].flatten(1).mean(1)
    torch.testing.assert_close(over(metric, *pair, half()), expected, atol=0, rtol=0.05)


@needs_trunks
def test_lpips_hardly_depends_on_other_regions(pair):
    _, target = pair
    output = target.clone()
    output[..., SIZE * 3 // 4 :] = pair[0][..., SIZE * 3 // 4 :]
    left = torch.zeros(1, 1, SIZE, SIZE)
    left[..., : SIZE // 4] = 1
    metric = LPIPS(data=DATA)
    here, there = over(metric, output, target, left), over(metric, output, target, left.flip(-1))
    assert (here < 0.2 * there).all()
