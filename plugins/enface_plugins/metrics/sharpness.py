"""Gradient energy relative to the target's."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor

from enface import Metric
from enface_plugins.metrics.cards import PIXELS

# Far below the energy of photographs (about 1e-3) and far above rounding: two flat images are equally sharp.
FLAT = 1e-8


class Sharpness(Metric):
    """Gradient energy of the output divided by that of the target.

    The energy is the sum of squared differences between neighbouring pixels, right and below, over all channels. It
    measures the amount of detail, not its place: noise is sharp too, so read it together with SSIM or LPIPS. A focus
    measure after Brenner et al., "An automated microscope for cytologic research", Journal of Histochemistry and
    Cytochemistry, 1976, with neighbours one pixel apart in both directions.

    Over a region a difference has the smaller weight of its two pixels, divided by the image's largest weight.

    Shapes: output, target (N, 3, H, W) in [0, 1] -> (N,). Range: [0, inf); 1 for equal energy, the best value; below
    1 for a blurred output.
    """

    higher_is_better: ClassVar[bool] = True
    default: ClassVar[bool] = True
    ideal: ClassVar[float | None] = 1.0
    bounds: ClassVar[tuple[float, float] | None] = (0.0, math.inf)

    @property
    def card(self) -> dict[str, str]:
        return dict(PIXELS)

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        return _ratio(*(_energy(image, torch.ones_like(image[:1, :1])) for image in (output, target)))[:, 0]

    def regional(self, output: Tensor, target: Tensor, weights: Tensor) -> Tensor:
        # An empty region gives 0 / 0, the NaN it should have.
        share = weights / weights.amax((-2, -1), keepdim=True)
        return _ratio(_energy(output, share), _energy(target, share))


def _ratio(output: Tensor, target: Tensor) -> Tensor:
    return (output + FLAT) / (target + FLAT)


def _energy(image: Tensor, share: Tensor) -> Tensor:
    """Squared differences in each of R regions, weighted by the share of their pixels in it: (N, R)."""
    across = image.diff(dim=-1).square().sum(1, keepdim=True) * torch.minimum(share[..., 1:], share[..., :-1])
    down = image.diff(dim=-2).square().sum(1, keepdim=True) * torch.minimum(share[..., 1:, :], share[..., :-1, :])
    return across.flatten(2).sum(2) + down.flatten(2).sum(2)
