"""Gradient energy relative to the target's."""

from __future__ import annotations

import math
from typing import ClassVar

from torch import Tensor

from enface import Metric
from enface_plugins.metrics.cards import PIXELS

# Far below any photograph's energy (about 1e-3), far above rounding: two flat images are equally sharp.
FLAT = 1e-8


class Sharpness(Metric):
    """How sharp the output is: its gradient energy over the target's.

    The energy is the sum of squared differences of neighbouring pixels, right and below, over all channels. It says
    how much detail there is, not whether that lies in the right place: noise is sharp too, so read it beside SSIM or
    LPIPS. The measure of focus after Brenner et al., "An automated microscope for cytologic research", Journal of
    Histochemistry and Cytochemistry, 1976, with neighbours one pixel apart in both directions.

    Shapes: output, target (N, 3, H, W) in [0, 1] -> (N,). Range: [0, inf); 1 where both have the same energy, below
    1 for a blurred output. 1 is the best value.
    """

    higher_is_better: ClassVar[bool] = True
    usual: ClassVar[bool] = True
    ideal: ClassVar[float | None] = 1.0
    bounds: ClassVar[tuple[float, float] | None] = (0.0, math.inf)

    @property
    def card(self) -> dict[str, str]:
        return dict(PIXELS)

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        return (_energy(output) + FLAT) / (_energy(target) + FLAT)


def _energy(image: Tensor) -> Tensor:
    across, down = image.diff(dim=-1), image.diff(dim=-2)
    return across.square().flatten(1).sum(1) + down.square().flatten(1).sum(1)
