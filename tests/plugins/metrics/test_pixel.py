"""MAE, PSNR and SSIM: values computed by hand and by scikit-image."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from enface import DataInfo, EnfaceError
from enface_plugins.metrics import MAE, PSNR, SSIM

DATA = DataInfo.square(96)


@pytest.fixture(scope="module")
def pair():
    generator = torch.Generator().manual_seed(3)
    coarse = torch.rand(3, 3, 12, 10, generator=generator)
    target = torch.nn.functional.interpolate(coarse, size=(72, 60), mode="bicubic").clamp(0, 1)
    output = (target + 0.1 * torch.randn(target.shape, generator=generator)).clamp(0, 1)
    return output, target


def _each(function, pair):
    output, target = (image.permute(0, 2, 3, 1).numpy().astype(np.float64) for image in pair)
    return torch.tensor([function(t, o) for t, o in zip(target, output, strict=True)], dtype=torch.float32)


def test_l1_by_hand():
    output = torch.zeros(2, 3, 4, 4)
    output[1, 0] = 0.75
    torch.testing.assert_close(MAE(data=DATA)(output, torch.zeros_like(output)), torch.tensor([0.0, 0.25]))


def test_psnr_by_hand():
    target = torch.zeros(3, 3, 5, 5)
    output = torch.stack([target[0] + 0.1, target[0] + 1, target[0] + 1e-6])
    # The last MSE, 1e-12, counts as 1e-10.
    torch.testing.assert_close(PSNR(data=DATA)(output, target), torch.tensor([20.0, 0.0, 100.0]))


def test_psnr_of_several_images_is_the_mean_of_their_decibels():
    from enface_tools.evaluate.measure import Measure

    target = torch.zeros(2, 3, 4, 4)
    output = torch.stack([target[0] + 26 / 255, target[1] + 3 / 255])
    scores = Measure({"psnr": PSNR(data=DATA)}).gather([Measure({"psnr": PSNR(data=DATA)}).batch(output, target)])
    decibels = [20 * math.log10(255 / 26), 20 * math.log10(255 / 3)]
    assert scores.mean("psnr") == pytest.approx(sum(decibels) / 2, abs=1e-4)
    # The ratio of the mean squared error is 6.4 dB lower.
    assert 10 * math.log10(2 * 255**2 / (26**2 + 3**2)) == pytest.approx(sum(decibels) / 2 - 6.4, abs=0.1)
    assert PSNR(data=DATA).card["mean"] == "of images' dB"


def test_psnr_distinguishes_one_level_of_one_pixel_from_equality():
    target = torch.zeros(1, 3, 226, 226)
    output = target.clone()
    output[0, 0, 0, 0] = 1 / 255
    assert PSNR(data=DATA)(output, target) < 100


def test_psnr_agrees_with_scikit_image(pair):
    expected = _each(lambda t, o: peak_signal_noise_ratio(t, o, data_range=1), pair)
    torch.testing.assert_close(PSNR(data=DATA)(*pair), expected, atol=1e-4, rtol=0)


def test_ssim_agrees_with_scikit_image(pair):
    expected = _each(
        lambda t, o: structural_similarity(
            t, o, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=1, channel_axis=-1
        ),
        pair,
    )
    assert 0.2 < expected.mean() < 0.95
    torch.testing.assert_close(SSIM(data=DataInfo.square(60))(*pair), expected, atol=1e-5, rtol=0)


def test_ssim_refuses_images_smaller_than_its_window():
    SSIM(data=DataInfo.square(11))
    with pytest.raises(EnfaceError, match="at least 11 px"):
        SSIM(data=DataInfo.square(10))
