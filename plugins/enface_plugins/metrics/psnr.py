"""Peak signal-to-noise ratio."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from enface import DataInfo, Metric, weighted_mean
from enface_plugins.metrics.cards import pixel_card

HIGHEST = {8: 100.0, 16: 150.0}
"""The ratio of equal images in dB, by bits per sample."""


class PSNR(Metric):
    """Peak signal-to-noise ratio, 10 log10(1 / MSE), with the MSE over all pixels and planes of one image.

    Equal images would give infinity and make every mean infinite, so the MSE is at least 1e-10 and the ratio at most
    100 dB; of 16-bit images 1e-15 and 150 dB. Up to 226 x 226 px (of 16 bits: 278 x 278 px), RGB images that differ at
    all stay below that.

    Numbers of several images are means of their decibels, as most papers report. The ratio of the mean MSE, which is
    lower unless all are equal, is another number.

    Over a region the MSE is the weighted mean of its squared errors.

    Shapes: output, target (N, C, H, W) in [0, 1] -> (N,). Range: [0, 100] dB; of 16-bit images [0, 150] dB.
    """

    higher_is_better: ClassVar[bool] = True
    default: ClassVar[bool] = True
    unit: ClassVar[str] = "dB"

    def __init__(self, *, data: DataInfo) -> None:
        super().__init__()
        self.data = data

    @property
    def bounds(self) -> tuple[float, float]:  # type: ignore[override]
        return 0.0, HIGHEST[self.data.depth]

    @property
    def card(self) -> dict[str, str]:
        return {**pixel_card(self.data), "highest": f"{HIGHEST[self.data.depth]:g} dB", "mean": "of images' dB"}

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        return self._decibels((output - target).square().flatten(1).mean(1))

    def regional(self, output: Tensor, target: Tensor, weights: Tensor) -> Tensor:
        return self._decibels(weighted_mean((output - target).square(), weights))

    def _decibels(self, mse: Tensor) -> Tensor:
        return -10 * mse.clamp(min=10 ** (-HIGHEST[self.data.depth] / 10)).log10()
