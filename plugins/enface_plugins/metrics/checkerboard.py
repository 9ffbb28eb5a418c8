"""Checkerboard artifacts of upsampling."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor

from enface import DataInfo, Metric
from enface_plugins.metrics.cards import mean_colour_text, pixel_card
from enface_plugins.metrics.spectra import amplitudes
from enface_plugins.planes import require_side

SMALLEST = 32
PERIOD = 4
# Inner and outer distance of the frequencies a peak is compared with, in steps of the spectrum. The window spreads a
# wave over one step to each side and no further.
NEAR, FAR = 3, 5


class Checkerboard(Metric):
    """Strength of grids of period 2 and 4 px in the output that the target does not have.

    Transposed convolutions and pixel shuffles of stride 2 leave waves of period 2 px, two of them in a row also of
    4 px: Odena, Dumoulin and Olah, "Deconvolution and checkerboard artifacts", Distill 2016. Their frequencies are
    (k, l) / 4 per pixel, except (0, 0). With A the amplitudes of the Hann-windowed Fourier transform of an image minus
    its mean, the peak at f is E(f) = max(0, A(f) - the median of A at the frequencies 3 to 5 steps from f); the value
    is the sum over these frequencies of max(0, E_output(f) - E_target(f)), averaged over planes.

    A wave of amplitude a gives a: a grid of +-1/255 gives 0.004. Blur gives 0. Noise has hardly any peaks: with a
    standard deviation of 0.1 it gives 0.004 to 0.01 at 64 px.

    Shapes: output, target (N, C, H, W) in [0, 1] -> (N,). Range: [0, inf), in practice below 1; 0 is best. Unit: the
    range of the images.

    Raises:
        RecipeError: when a side of the images is below 32 px, too small to separate a peak from its surroundings.
    """

    higher_is_better: ClassVar[bool] = False
    bounds: ClassVar[tuple[float, float]] = (0.0, math.inf)
    unit: ClassVar[str] = "range from black to white"

    def __init__(self, *, data: DataInfo) -> None:
        super().__init__()
        self.data = data
        require_side("checkerboard", data, SMALLEST)

    @property
    def card(self) -> dict[str, str]:
        return {
            **pixel_card(self.data),
            "colour": mean_colour_text(self.data),
            "crop": "rows and columns at the end, to a multiple of 4",
            "periods": "2 and 4 px",
            "window": "Hann",
        }

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        return (_peaks(output) - _peaks(target)).clamp(min=0).sum(-1).mean(1)


def _peaks(image: Tensor) -> Tensor:
    """Height of each grid frequency above its surroundings: (N, C, H, W) -> (N, C, 15)."""
    height, width = (side - side % PERIOD for side in image.shape[-2:])
    spectrum = amplitudes(image[..., :height, :width])
    grid = [(down, across) for down in range(PERIOD) for across in range(PERIOD) if down or across]
    steps = torch.tensor([(down * height // PERIOD, across * width // PERIOD) for down, across in grid])
    near = steps[:, None] + torch.tensor(_ring())
    # Sorted, because torch.median has no deterministic kernel on CUDA.
    around = spectrum[..., near[..., 0] % height, near[..., 1] % width].sort(-1).values
    surroundings = around[..., (around.shape[-1] - 1) // 2]
    return (spectrum[..., steps[:, 0], steps[:, 1]] - surroundings).clamp(min=0)


def _ring() -> list[tuple[int, int]]:
    span = range(-FAR, FAR + 1)
    return [(down, across) for down in span for across in span if max(abs(down), abs(across)) >= NEAR]
