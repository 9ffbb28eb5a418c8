"""Peak signal-to-noise ratio."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from enface import Metric, weighted_mean
from enface_plugins.metrics.cards import PIXELS

SMALLEST_MSE = 1e-10


class PSNR(Metric):
    """Peak signal-to-noise ratio, 10 log10(1 / MSE), the MSE being over all pixels and channels of one image.

    Equal images would give infinity and spoil every mean, so the MSE counts as at least 1e-10 and the ratio
    ends at 100 dB. 8-bit images that differ at all stay below that up to 226 x 226 px.

    Over a part of the image the MSE is the mean of squared errors there, weighed.

    Shapes: output, target (N, 3, H, W) in [0, 1] -> (N,). Range: [0, 100] dB.
    """

    higher_is_better: ClassVar[bool] = True
    default: ClassVar[bool] = True
    bounds: ClassVar[tuple[float, float]] = (0.0, 100.0)

    @property
    def card(self) -> dict[str, str]:
        return {**PIXELS, "highest": "100 dB"}

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        return _decibels((output - target).square().flatten(1).mean(1))

    def regional(self, output: Tensor, target: Tensor, weights: Tensor) -> Tensor:
        return _decibels(weighted_mean((output - target).square(), weights))


def _decibels(mse: Tensor) -> Tensor:
    return -10 * mse.clamp(min=SMALLEST_MSE).log10()
