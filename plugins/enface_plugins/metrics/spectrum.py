"""Error of the power spectrum."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor

from enface import Metric
from enface_plugins.metrics.cards import PIXELS
from enface_plugins.metrics.spectra import amplitudes, rounding_power

LUMINANCE = (0.299, 0.587, 0.114)


class Spectrum(Metric):
    """Error of the radial power spectrum: mean over r of |log10 P_output(r) - log10 P_target(r)|.

    P(r) is the mean power of the Hann-windowed Fourier transform of the luma minus its mean, over the frequencies
    whose distance from 0 rounds to r = 1 ... half the shorter side: Durall, Keuper and Keuper, "Watch your
    up-convolution: CNN based generative deep neural networks are failing to reproduce spectral distributions", CVPR
    2020, who use the same radial mean without a window. Powers below that of rounding to 8 bits, with errors of 1/12 of
    a squared step, count as that: saved images do not hold less, and a flat image would have none.

    Blur lowers the power at large r; upsampling grids and noise raise it. The position of details has no effect, and
    neither have the finest diagonal waves, whose r is beyond the last.

    Shapes: output, target (N, 3, H, W) in [0, 1] -> (N,). Range: [0, inf), 0 is best. Unit: decades; 0.3 is a factor
    of 2 in power.
    """

    higher_is_better: ClassVar[bool] = False
    bounds: ClassVar[tuple[float, float]] = (0.0, math.inf)
    unit: ClassVar[str] = "decades"

    @property
    def card(self) -> dict[str, str]:
        return {**PIXELS, "colour": "luma (Rec. 601)", "window": "Hann", "floor": "power of rounding to 8 bits"}

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        return (profile(output).log10() - profile(target).log10()).abs().mean(1)


def profile(image: Tensor) -> Tensor:
    """Mean power by rounded distance from frequency 0: (N, 3, H, W) -> (N, R), for distances of 1 to R steps."""
    luma = (image * image.new_tensor(LUMINANCE)[:, None, None]).sum(1)
    height, width = luma.shape[-2:]
    power = amplitudes(luma).square()
    # In steps of the shorter side, so that equal distances are equal scales.
    shorter = min(height, width)
    down, across = (torch.fft.fftfreq(side, 1 / shorter, device=image.device) for side in (height, width))
    radius = torch.hypot(down[:, None], across[None]).round().long().flatten()
    bins = shorter // 2 + 1
    kept = radius < bins
    radius = radius[kept]
    total = power.new_zeros(len(power), bins).index_add_(1, radius, power.flatten(1)[:, kept])
    count = torch.bincount(radius, minlength=bins)
    # The luma's rounding errors are those of three channels, weighted.
    floor = rounding_power(height, width, power) * sum(weight**2 for weight in LUMINANCE)
    return (total / count)[:, 1:].clamp(min=floor)
