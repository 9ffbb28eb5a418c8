"""Losses of spectra, by hand and against the papers' formulas in numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from enface_plugins.losses.fft import FFT
from enface_plugins.losses.focal_frequency import FocalFrequency


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 2 - 1


def wave(size: int, cycles: int, height: float) -> torch.Tensor:
    """A cosine with ``cycles`` cycles along x; its orthonormal spectrum is height * size / 2 at two frequencies."""
    x = torch.arange(size, dtype=torch.float64)
    return (height * torch.cos(2 * torch.pi * cycles * x / size)).expand(1, 1, size, size)


# ------------------------------------------------------------------ focal frequency


def by_definition(output: np.ndarray, target: np.ndarray, alpha: float) -> float:
    """Equations 1, 8 and 9 of the paper, term by term, for one plane."""
    height, width = output.shape

    def transform(plane: np.ndarray) -> np.ndarray:
        spectrum = np.empty((height, width), complex)
        for u, v in np.ndindex(height, width):
            x, y = np.arange(height)[:, None], np.arange(width)[None]
            turns = u * x / height + v * y / width
            spectrum[u, v] = np.sum(plane * np.exp(-2j * np.pi * turns)) / np.sqrt(height * width)
        return spectrum

    distance = np.abs(transform(target) - transform(output))
    weights = distance**alpha
    weights = weights / weights.max()
    return float(np.sum(weights * distance**2) / (height * width))


@pytest.mark.parametrize("alpha", [0.5, 1.0, 2.0])
def test_focal_frequency_is_the_papers_formula(alpha):
    output, target = noise(2, 3, 6, 8), noise(2, 3, 6, 8, seed=1)
    error = FocalFrequency(alpha=alpha)(output, target)
    planes = [[by_definition(output[n, c].numpy(), target[n, c].numpy(), alpha) for c in range(3)] for n in range(2)]
    np.testing.assert_allclose(error, np.mean(planes, axis=1), rtol=1e-10)


def test_focal_frequency_of_two_waves_by_hand():
    # Amplitudes 4 (twice) and 2 (twice) on an 8 x 8 plane: weights 1 and 1/2, (2 * 16 + 2 * 4 / 2) / 64.
    output = wave(8, 1, 1.0) + wave(8, 3, 0.5)
    loss = FocalFrequency()(output, torch.zeros_like(output))
    torch.testing.assert_close(loss, torch.tensor([36 / 64], dtype=torch.float64))


def test_without_focus_it_is_the_squared_error():
    output, target = noise(2, 3, 9, 12), noise(2, 3, 9, 12, seed=1)
    squared = (output - target).square().mean((1, 2, 3))
    torch.testing.assert_close(FocalFrequency(alpha=0)(output, target), squared)
    assert (FocalFrequency()(output, target) < squared).all()


def test_the_weights_are_constant_in_the_gradient():
    """A single wrong frequency has weight 1, so the gradient is that of the squared error, not of a cube."""
    output = wave(8, 2, 0.7).clone().requires_grad_()
    target = torch.zeros_like(output)
    FocalFrequency()(output, target).sum().backward()
    torch.testing.assert_close(output.grad, 2 * output.detach() / 64)


@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0, 4.0])
@pytest.mark.parametrize("difference", [0.0, 1e-30, 1e-12])
def test_focal_frequency_is_finite_where_the_images_agree(alpha, difference):
    output = torch.full((1, 3, 8, 8), difference, requires_grad=True)
    loss = FocalFrequency(alpha=alpha)(output, torch.zeros(1, 3, 8, 8))
    loss.sum().backward()
    assert loss.isfinite().all()
    assert output.grad.isfinite().all()


# ------------------------------------------------------------------ fft


def test_fft_of_a_wave_by_hand():
    # On 8 x 8 a cosine of height 0.5 has amplitude 2 at two frequencies of 64.
    flat = torch.zeros(1, 1, 8, 8, dtype=torch.float64)
    for compare in ("complex", "amplitude"):
        loss = FFT(compare=compare)(wave(8, 1, 0.5), flat)
        torch.testing.assert_close(loss, torch.tensor([4 / 64], dtype=torch.float64))
    # Turned by half a cycle, each number changes its sign and none its amplitude.
    moved = -wave(8, 1, 0.5)
    torch.testing.assert_close(FFT()(moved, wave(8, 1, 0.5)), torch.tensor([8 / 64], dtype=torch.float64))
    torch.testing.assert_close(FFT(compare="amplitude")(moved, wave(8, 1, 0.5)), flat[0, 0, 0, :1])


def test_fft_is_numpys():
    output, target = noise(2, 3, 7, 10), noise(2, 3, 7, 10, seed=1)
    first, second = (np.fft.fft2(image.numpy(), norm="ortho") for image in (output, target))
    np.testing.assert_allclose(FFT()(output, target), np.abs(first - second).mean((1, 2, 3)))
    amplitude = FFT(compare="amplitude")(output, target)
    np.testing.assert_allclose(amplitude, np.abs(np.abs(first) - np.abs(second)).mean((1, 2, 3)))


def test_fft_keeps_the_bounds_it_says():
    output, target = noise(4, 3, 8, 8), noise(4, 3, 8, 8, seed=1)
    whole, amplitude = FFT()(output, target), FFT(compare="amplitude")(output, target)
    assert (amplitude < whole).all()
    assert (whole <= (output - target).square().mean((1, 2, 3)).sqrt()).all()
    torch.testing.assert_close(FFT(compare="amplitude")(output.roll((3, 2), (2, 3)), output), torch.zeros(4).double())


@pytest.mark.parametrize("compare", ["complex", "amplitude"])
def test_gradients_of_fft_are_right_and_zero_at_equality(compare):
    loss, target = FFT(compare=compare), noise(1, 1, 4, 5)
    assert torch.autograd.gradcheck(lambda image: loss(image, target), noise(1, 1, 4, 5, seed=1).requires_grad_())
    for image in (target, torch.zeros_like(target), torch.full_like(target, 0.4)):
        output = image.clone().requires_grad_()
        loss(output, image).sum().backward()
        assert torch.equal(output.grad, torch.zeros_like(target))
