"""Peak signal-to-noise ratio."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from enface import Metric, weighted_mean
from enface_plugins.metrics.cards import PIXELS

SMALLEST_MSE = 1e-10


class PSNR(Metric):
    """Peak signal-to-noise ratio, 10 log10(1 / MSE), with the MSE over all pixels and channels of one image.

    Equal images would give infinity and make every mean infinite, so the MSE is at least 1e-10 and the ratio at most
    100 dB. Up to 226 x 226 px, 8-bit images that differ at all stay below that.

    Numbers of several images are means of their decibels, as most papers report. The ratio of the mean MSE, which is
    lower unless all are equal, is another number.

    Over a region the MSE is the weighted mean of its squared errors.

    Shapes: output, target (N, 3, H, W) in [0, 1] -> (N,). Range: [0, 100] dB.
    """

    higher_is_better: ClassVar[bool] = True
    default: ClassVar[bool] = True
    bounds: ClassVar[tuple[float, float]] = (0.0, 100.0)
    unit: ClassVar[str] = "dB"

    @property
    def card(self) -> dict[str, str]:
        return {**PIXELS, "highest": "100 dB", "mean": "of images' dB"}

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        return _decibels((output - target).square().flatten(1).mean(1))

    def regional(self, output: Tensor, target: Tensor, weights: Tensor) -> Tensor:
        return _decibels(weighted_mean((output - target).square(), weights))


def _decibels(mse: Tensor) -> Tensor:
    return -10 * mse.clamp(min=SMALLEST_MSE).log10()
