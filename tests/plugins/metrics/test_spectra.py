"""Checkerboard and spectrum: waves computed by hand, and the effects of blur and noise."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from kornia.filters import gaussian_blur2d

from enface import DataInfo, EnfaceError
from enface_plugins.metrics import Checkerboard, Spectrum
from enface_plugins.metrics.spectra import amplitudes
from enface_plugins.metrics.spectrum import profile

DATA = DataInfo.square(96)

SIZE = 64
AT = torch.arange(SIZE)
DIAGONAL = (-1.0) ** (AT[:, None] + AT[None])
COLUMNS = ((-1.0) ** AT).expand(SIZE, SIZE)
FOUR = torch.cos(math.pi / 2 * AT).expand(SIZE, SIZE)
THREE = torch.cos(2 * math.pi / 3 * AT).expand(SIZE, SIZE)


@pytest.fixture(scope="module")
def faces():
    coarse = torch.rand(3, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    return 0.1 + 0.8 * torch.nn.functional.interpolate(coarse, size=SIZE, mode="bicubic").clamp(0, 1)


def blurred(image, sigma=1.5):
    return gaussian_blur2d(image, (9, 9), (sigma, sigma))


# ------------------------------------------------------------------ amplitudes


def test_a_waves_amplitude_is_its_own():
    spectrum = amplitudes(0.5 + 0.02 * COLUMNS + 0.04 * FOUR)
    assert spectrum[0, SIZE // 2].item() == pytest.approx(0.02, rel=1e-4)
    assert spectrum[0, SIZE // 4].item() == pytest.approx(0.02, rel=1e-4), "half of it at each of two frequencies"
    assert spectrum[0, 0].item() == pytest.approx(0, abs=1e-6)


def test_amplitudes_are_those_of_numpy():
    image = torch.rand(40, 52, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    window = np.outer(*(0.5 - 0.5 * np.cos(2 * np.pi * np.arange(side) / side) for side in image.shape))
    window /= window.sum()
    plain = image.numpy()
    expected = np.abs(np.fft.fft2((plain - (plain * window).sum()) * window))
    np.testing.assert_allclose(amplitudes(image).numpy(), expected, atol=1e-12)


# ------------------------------------------------------------------ checkerboard


@pytest.mark.parametrize("grid", [DIAGONAL, COLUMNS, COLUMNS.T, FOUR, FOUR.T])
def test_an_added_grid_raises_checkerboard_by_its_amplitude(grid, faces):
    metric = Checkerboard(data=DataInfo.square(SIZE))
    flat = torch.full((1, 3, SIZE, SIZE), 0.5)
    assert metric(flat + 0.02 * grid, flat).item() == pytest.approx(0.02, rel=1e-3)
    for amplitude in (0.005, 0.02, 0.08):
        values = metric(faces + amplitude * grid, faces)
        torch.testing.assert_close(values, torch.full((3,), amplitude), rtol=0.1, atol=5e-4)


def test_grids_of_two_periods_add_up():
    flat = torch.full((1, 3, SIZE, SIZE), 0.5)
    value = Checkerboard(data=DataInfo.square(SIZE))(flat + 0.02 * DIAGONAL + 0.01 * FOUR, flat)
    assert value.item() == pytest.approx(0.03, rel=1e-3)


def test_a_grid_in_one_channel_counts_a_third():
    flat = torch.full((1, 3, SIZE, SIZE), 0.5)
    output = flat.clone()
    output[:, 1] += 0.03 * DIAGONAL
    assert Checkerboard(data=DataInfo.square(SIZE))(output, flat).item() == pytest.approx(0.01, rel=1e-3)


def test_neither_blur_nor_a_grid_of_another_period_raises_checkerboard(faces):
    metric = Checkerboard(data=DataInfo.square(SIZE))
    assert (metric(blurred(faces), faces) < 1e-4).all()
    assert (metric(faces + 0.02 * THREE, faces) < 1e-3).all()


def test_a_grid_that_the_target_also_has_is_no_artifact(faces):
    metric, board = Checkerboard(data=DataInfo.square(SIZE)), 0.02 * DIAGONAL
    assert torch.equal(metric(faces + board, faces + board), torch.zeros(3))
    assert (metric(faces, faces + board) < 1e-6).all(), "a weaker grid than the target's counts 0"


def test_noise_has_hardly_a_peak(faces):
    noise = 0.02 * torch.randn(faces.shape, generator=torch.Generator().manual_seed(1))
    assert (Checkerboard(data=DataInfo.square(SIZE))(faces + noise, faces) < 0.003).all()


@pytest.mark.parametrize("size", [32, 61, 94])
def test_checkerboard_at_other_sizes(size):
    at = torch.arange(size)
    flat = torch.full((1, 3, size, size), 0.5)
    value = Checkerboard(data=DataInfo.square(size))(flat + 0.02 * (-1.0) ** (at[:, None] + at), flat)
    assert value.item() == pytest.approx(0.02, rel=1e-3)


def test_checkerboard_refuses_images_too_small():
    with pytest.raises(EnfaceError, match="at least 32 px; these have 31"):
        Checkerboard(data=DataInfo.square(31))


# ------------------------------------------------------------------ spectrum


def test_half_the_contrast_is_a_quarter_of_the_power_at_every_scale():
    image = torch.rand(2, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    values = Spectrum(data=DATA)(0.5 + (image - 0.5) / 2, image)
    torch.testing.assert_close(values, torch.full((2,), math.log10(4)), rtol=1e-3, atol=0)


def test_a_wave_is_at_its_own_radius():
    wave = torch.cos(2 * math.pi * 10 / SIZE * AT).expand(1, 3, SIZE, SIZE)
    power = profile(0.5 + 0.1 * wave, 8)[0, 0]
    assert power.argmax().item() == 10 - 1
    # The window spreads it one step to each side; the rest is at most the power of rounding.
    floor = power.min()
    assert floor == pytest.approx(0.446966 / 12 / 255**2 * 2.25 / SIZE**2, rel=1e-4), "Hann: mean square 3/8 a side"
    assert (power[12:] == floor).all()


def test_the_profile_is_the_mean_over_rings_of_frequencies():
    image = torch.rand(1, 3, 40, 52, generator=torch.Generator().manual_seed(0))
    luma = (image[0] * torch.tensor([0.299, 0.587, 0.114])[:, None, None]).sum(0)
    power = amplitudes(luma).square()
    rings: dict[int, list[float]] = {}
    for row in range(40):
        for column in range(52):
            down, across = min(row, 40 - row), min(column, 52 - column) * 40 / 52
            rings.setdefault(round(math.hypot(down, across)), []).append(power[row, column].item())
    expected = [sum(rings[radius]) / len(rings[radius]) for radius in range(1, 21)]
    np.testing.assert_allclose(profile(image, 8)[0, 0], expected, rtol=1e-3)


def test_blur_and_noise_are_errors_and_a_shift_is_not(faces):
    metric = Spectrum(data=DATA)
    noise = 0.05 * torch.randn(faces.shape, generator=torch.Generator().manual_seed(1))
    assert (metric(blurred(faces), faces) > metric(blurred(faces, 0.5), faces)).all()
    assert (metric(faces + noise, faces) > 0.5).all()
    shifted = metric(noise.roll((5, 3), (2, 3)), noise)
    assert (shifted < 0.15).all(), "only the window depends on position"


def test_rounding_to_8_bits_is_no_error_of_a_smooth_image(faces):
    smooth = gaussian_blur2d(faces, (31, 31), (5.0, 5.0))
    rounded = (smooth * 255).round() / 255
    assert (Spectrum(data=DATA)(rounded, smooth) < 0.15).all(), "without the floor: about 2 decades"


def test_flat_images_have_equal_spectra():
    flat = torch.full((1, 3, SIZE, SIZE), 0.2)
    assert Spectrum(data=DATA)(flat, flat + 0.5).item() == pytest.approx(0, abs=1e-3)
