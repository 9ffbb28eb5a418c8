"""Fourier amplitudes, shared by the metrics of spectra."""

from __future__ import annotations

import torch
from torch import Tensor


def hann(height: int, width: int, like: Tensor) -> Tensor:
    """The separable, periodic Hann window of sum 1, (height, width)."""
    sides = (torch.hann_window(length, device=like.device, dtype=like.dtype) for length in (height, width))
    window = torch.outer(*sides)
    return window / window.sum()


def amplitudes(image: Tensor) -> Tensor:
    """Amplitude of each frequency of Hann-windowed images minus their mean, (..., H, W) -> (..., H, W).

    Frequencies are those of ``torch.fft.fft2``. A wave a (-1)^x has amplitude a at its frequency, a cos(w x) has a / 2
    at each of w and -w.
    """
    window = hann(*image.shape[-2:], like=image)
    # The mean weighted by the window, so that it does not leak into the lowest frequencies.
    mean = (image * window).sum((-2, -1), keepdim=True)
    return torch.fft.fft2((image - mean) * window).abs()


def rounding_power(height: int, width: int, like: Tensor, depth: int) -> Tensor:
    """Expected power of rounding to ``depth`` bits at each frequency of :func:`amplitudes`, a number.

    Rounding errors are independent with variance 1/12 of a squared step, so the window's squares add up.
    """
    return hann(height, width, like).square().sum() / (12 * (2**depth - 1) ** 2)
