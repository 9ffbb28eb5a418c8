"""Grids that upsampling leaves."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor

from enface import DataInfo, EnfaceError, Metric
from enface_plugins.metrics.cards import PIXELS
from enface_plugins.metrics.spectra import amplitudes

SMALLEST = 32
PERIOD = 4
# How far around a frequency its surroundings lie, in steps of the spectrum. The window spreads a wave over one step
# to each side, and nothing of it lies beyond.
NEAR, FAR = 3, 5


class Checkerboard(Metric):
    """How much stronger a grid of 2 or 4 px stands out in the output than in the target.

    Transposed convolutions and pixel shuffles of stride 2 leave waves of period 2 px, two of them in a row also of
    4 px: Odena, Dumoulin and Olah, "Deconvolution and checkerboard artifacts", Distill 2016. These are the frequencies
    (k, l) / 4 per pixel but (0, 0). With A the amplitudes of the Hann-windowed Fourier transform of an image less its
    mean, the peak at f is E(f) = max(0, A(f) - the median of A at the frequencies 3 to 5 steps from f), and the number
    is the sum over these frequencies of max(0, E_output(f) - E_target(f)), mean of channels.

    A wave of amplitude a gives a: a grid of +-1/255 gives 0.004. Blur gives 0. Noise has no peaks to speak of: one of
    standard deviation 0.1 gives 0.004 to 0.01 at 64 px.

    Shapes: output, target (N, 3, H, W) in [0, 1] -> (N,). Range: [0, inf), in practice below 1; 0 is best. Unit: the
    images' range.

    Raises:
        EnfaceError: when the images are smaller than 32 px, too small to tell a peak from what is around it.
    """

    higher_is_better: ClassVar[bool] = False
    bounds: ClassVar[tuple[float, float]] = (0.0, math.inf)

    def __init__(self, *, data: DataInfo) -> None:
        super().__init__()
        if data.size < SMALLEST:
            raise EnfaceError(f"checkerboard needs images of at least {SMALLEST} px; these have {data.size}")

    @property
    def card(self) -> dict[str, str]:
        return {
            **PIXELS,
            "colour": "RGB, mean of channels",
            "crop": "rows and columns at the end, to a multiple of 4",
            "periods": "2 and 4 px",
            "window": "Hann",
        }

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        return (_peaks(output) - _peaks(target)).clamp(min=0).sum(-1).mean(1)


def _peaks(image: Tensor) -> Tensor:
    """How far the amplitude of each grid frequency stands out: (N, C, H, W) -> (N, C, 15)."""
    height, width = (side - side % PERIOD for side in image.shape[-2:])
    found = amplitudes(image[..., :height, :width])
    grid = [(down, across) for down in range(PERIOD) for across in range(PERIOD) if down or across]
    steps = torch.tensor([(down * height // PERIOD, across * width // PERIOD) for down, across in grid])
    near = steps[:, None] + torch.tensor(_ring())
    # Sorted, for the median has no deterministic kernel on CUDA.
    around = found[..., near[..., 0] % height, near[..., 1] % width].sort(-1).values
    surroundings = around[..., (around.shape[-1] - 1) // 2]
    return (found[..., steps[:, 0], steps[:, 1]] - surroundings).clamp(min=0)


def _ring() -> list[tuple[int, int]]:
    span = range(-FAR, FAR + 1)
    return [(down, across) for down in span for across in span if max(abs(down), abs(across)) >= NEAR]
