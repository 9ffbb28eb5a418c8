"""Structural similarity."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from enface import DataInfo, EnfaceError, Metric, weighted_mean
from enface_plugins.metrics.windows import SIGMA, WINDOW, planes, similarity

MARGIN = WINDOW // 2


class SSIM(Metric):
    """Structural similarity of local means, variances and covariance.

    Wang, Bovik, Sheikh and Simoncelli, "Image quality assessment: from error visibility to structural
    similarity", IEEE TIP 2004: Gaussian window of 11 px, sigma 1.5, K 0.01 and 0.03, at the places where the
    window fits. Each colour channel by itself, then their mean (the paper has grey images).

    Over a part of the image: the mean over the windows whose middles lie there, weighed by the weight at the middle.
    A part within 5 px of the image's border has no window, and its number is NaN.

    Shapes: output, target (N, 3, H, W) in [0, 1] -> (N,). Range: [-1, 1], 1 for equal images.

    Raises:
        EnfaceError: when the images are smaller than the window.
    """

    higher_is_better: ClassVar[bool] = True
    default: ClassVar[bool] = True
    bounds: ClassVar[tuple[float, float]] = (-1.0, 1.0)

    def __init__(self, *, data: DataInfo) -> None:
        super().__init__()
        if data.size < WINDOW:
            raise EnfaceError(f"ssim needs images of at least {WINDOW} px; these have {data.size}")

    @property
    def card(self) -> dict[str, str]:
        return {
            "implementation": "enface",
            "window": f"Gaussian, {WINDOW} px, sigma {SIGMA}, inside the image",
            "data_range": "1",
            "colour": "RGB, mean of channels",
            "crop": "none",
            "resize": "none",
        }

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        whole, _ = similarity(planes(output), planes(target))
        # One sum over all of a map that lies plane beside plane would have two digits fewer.
        return whole.mean((0, 2, 3)).unflatten(0, output.shape[:2]).mean(1)

    def map(self, output: Tensor, target: Tensor) -> Tensor:
        """The similarity of the window around each pixel that has a whole one: (N, 3, H - 10, W - 10)."""
        found, _ = similarity(planes(output), planes(target))
        return found[0].unflatten(0, output.shape[:2])

    def regional(self, output: Tensor, target: Tensor, weights: Tensor) -> Tensor:
        inside = slice(MARGIN, -MARGIN)
        return weighted_mean(self.map(output, target), weights[..., inside, inside])
