"""Error of the power spectrum."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor

from enface import DataInfo, Metric
from enface_plugins.metrics.cards import mean_colour_text, pixel_card
from enface_plugins.metrics.spectra import amplitudes, rounding_power

LUMINANCE = (0.299, 0.587, 0.114)


class Spectrum(Metric):
    """Error of the radial power spectrum: mean over r of |log10 P_output(r) - log10 P_target(r)|.

    P(r) is the mean power of the Hann-windowed Fourier transform of the luma minus its mean (of images that are not
    RGB: of each plane, and the error is the mean over planes), over the frequencies whose distance from 0 rounds to r =
    1 ... half the shorter side: Durall, Keuper and Keuper, "Watch your up-convolution: CNN based generative deep neural
    networks are failing to reproduce spectral distributions", CVPR 2020, who use the same radial mean without a window.
    Powers below that of rounding to the data's 8 or 16 bits, with errors of 1/12 of a squared step, count as that:
    saved images do not hold less, and a flat image would have none.

    Blur lowers the power at large r; upsampling grids and noise raise it. The position of details has no effect, and
    neither have the finest diagonal waves, whose r is beyond the last.

    Shapes: output, target (N, C, H, W) in [0, 1] -> (N,). Range: [0, inf), 0 is best. Unit: decades; 0.3 is a factor
    of 2 in power.
    """

    higher_is_better: ClassVar[bool] = False
    bounds: ClassVar[tuple[float, float]] = (0.0, math.inf)
    unit: ClassVar[str] = "decades"

    def __init__(self, *, data: DataInfo) -> None:
        super().__init__()
        self.data = data

    @property
    def card(self) -> dict[str, str]:
        rgb = self.data.channels["target"] == 3
        return {
            **pixel_card(self.data),
            "colour": "luma (Rec. 601)" if rgb else mean_colour_text(self.data),
            "window": "Hann",
            "floor": f"power of rounding to {self.data.depth} bits",
        }

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        depth = self.data.depth
        return (profile(output, depth).log10() - profile(target, depth).log10()).abs().flatten(1).mean(1)


def profile(image: Tensor, depth: int) -> Tensor:
    """Mean power by rounded distance from frequency 0, for distances of 1 to R steps.

    Args:
        image: (N, C, H, W) in [0, 1].
        depth: Bits per sample.

    Returns:
        (N, 1, R) of the luma of RGB images; (N, C, R) of the planes of others.
    """
    planes, variance = image, 1.0
    if image.shape[1] == 3:
        planes = (image * image.new_tensor(LUMINANCE)[:, None, None]).sum(1, keepdim=True)
        # The luma's rounding errors are those of three channels, weighted.
        variance = sum(weight**2 for weight in LUMINANCE)
    height, width = image.shape[-2:]
    power = amplitudes(planes.flatten(0, 1)).square()
    # In steps of the shorter side, so that equal distances are equal scales.
    shorter = min(height, width)
    down, across = (torch.fft.fftfreq(side, 1 / shorter, device=image.device) for side in (height, width))
    radius = torch.hypot(down[:, None], across[None]).round().long().flatten()
    bins = shorter // 2 + 1
    kept = radius < bins
    radius = radius[kept]
    total = power.new_zeros(len(power), bins).index_add_(1, radius, power.flatten(1)[:, kept])
    count = torch.bincount(radius, minlength=bins)
    floor = rounding_power(height, width, power, depth) * variance
    return (total / count)[:, 1:].clamp(min=floor).unflatten(0, planes.shape[:2])
