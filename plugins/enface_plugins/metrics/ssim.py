"""Structural similarity."""

from __future__ import annotations

from importlib.metadata import version
from typing import ClassVar

import pytorch_msssim
import torch
from torch import Tensor

from enface import DataInfo, Metric, weighted_mean
from enface_plugins.metrics.cards import mean_colour_text
from enface_plugins.planes import require_side
from enface_plugins.ssim_maps import SIGMA, WINDOW, planes, similarity

MARGIN = WINDOW // 2


class SSIM(Metric):
    """Structural similarity of local means, variances and covariance, by pytorch-msssim.

    Wang, Bovik, Sheikh and Simoncelli, "Image quality assessment: from error visibility to structural
    similarity", IEEE TIP 2004: Gaussian window of 11 px, sigma 1.5, K 0.01 and 0.03, in each place where the whole
    window lies inside the image; mean over planes (the paper has grey images).

    Over a region: the mean over the windows centred in it, weighted by the weight at the centre. A region within 5 px
    of the image's border has no such window, and its value is NaN.

    Shapes: output, target (N, C, H, W) in [0, 1] -> (N,). Range: [-1, 1], 1 for equal images.

    Raises:
        RecipeError: when a side of the images is smaller than the window.
    """

    higher_is_better: ClassVar[bool] = True
    default: ClassVar[bool] = True
    bounds: ClassVar[tuple[float, float]] = (-1.0, 1.0)

    def __init__(self, *, data: DataInfo) -> None:
        super().__init__()
        self.data = data
        require_side("ssim", data, WINDOW)

    @property
    def card(self) -> dict[str, str]:
        return {
            "implementation": f"pytorch-msssim {version('pytorch-msssim')}",
            "regions": "mean of enface's map of the same formula",
            "window": f"Gaussian, {WINDOW} px, sigma {SIGMA}, inside the image",
            "data_range": "1",
            "colour": mean_colour_text(self.data),
            "crop": "none",
            "resize": "none",
        }

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        return pytorch_msssim.ssim(*channels_last(output, target), data_range=1.0, size_average=False)

    def map(self, output: Tensor, target: Tensor) -> Tensor:
        """The similarity of the window around each pixel whose whole window is inside: (N, C, H - 10, W - 10)."""
        whole, _ = similarity(planes(output), planes(target))
        return whole[0].unflatten(0, output.shape[:2])

    def regional(self, output: Tensor, target: Tensor, weights: Tensor) -> Tensor:
        inside = slice(MARGIN, -MARGIN)
        return weighted_mean(self.map(output, target), weights[..., inside, inside])


def channels_last(*images: Tensor) -> list[Tensor]:
    """Images in the layout in which pytorch-msssim takes half the time on a CPU."""
    return [image.contiguous(memory_format=torch.channels_last) for image in images]
