"""Structural similarity."""

from __future__ import annotations

from importlib.metadata import version
from typing import ClassVar

import pytorch_msssim
from torch import Tensor

from enface import DataInfo, EnfaceError, Metric

WINDOW, SIGMA = 11, 1.5


class SSIM(Metric):
    """Structural similarity of local means, variances and covariance.

    Wang, Bovik, Sheikh and Simoncelli, "Image quality assessment: from error visibility to structural
    similarity", IEEE TIP 2004: Gaussian window of 11 px, sigma 1.5, K 0.01 and 0.03, at the places where the
    window fits. Each colour channel by itself, then their mean (the paper has grey images).

    Shapes: output, target (N, 3, H, W) in [0, 1] -> (N,). Range: [-1, 1], 1 for equal images.

    Raises:
        EnfaceError: when the images are smaller than the window.
    """

    higher_is_better: ClassVar[bool] = True
    usual: ClassVar[bool] = True
    bounds: ClassVar[tuple[float, float]] = (-1.0, 1.0)

    def __init__(self, *, data: DataInfo) -> None:
        super().__init__()
        if data.size < WINDOW:
            raise EnfaceError(f"ssim needs images of at least {WINDOW} px; these have {data.size}")

    @property
    def card(self) -> dict[str, str]:
        return {
            "implementation": f"pytorch-msssim {version('pytorch-msssim')}",
            "window": f"Gaussian, {WINDOW} px, sigma {SIGMA}, inside the image",
            "data_range": "1",
            "colour": "RGB, mean of channels",
            "crop": "none",
            "resize": "none",
        }

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        return pytorch_msssim.ssim(output, target, data_range=1.0, size_average=False, win_size=WINDOW, win_sigma=SIGMA)
