"""Structural similarity at several scales."""

from __future__ import annotations

from importlib.metadata import version
from typing import Annotated, ClassVar

import pytorch_msssim
from annotated_types import Ge, Le
from torch import Tensor

from enface import DataInfo, Metric
from enface_plugins.metrics.cards import mean_colour_text
from enface_plugins.metrics.ssim import channels_last
from enface_plugins.ssim_maps import FIVE_WEIGHTS, SIGMA, WINDOW, exponents_for, multi_scale_ssim


class MsSsim(Metric):
    """Structural similarity at several scales, each half the size of the one before.

    Wang, Simoncelli and Bovik, "Multi-scale structural similarity for image quality assessment", Asilomar
    2003: the product over scales of contrast and structure, and of luminance at the coarsest, each raised to its
    exponent; computed per plane, then averaged. Negative factors count as 0.

    Five scales, computed by pytorch-msssim, need sides larger than 160 px. With fewer, the first exponents are used,
    rescaled to the same sum, and the card states the number: values at different scales are not comparable.

    It has no value for a region: the window at the coarsest scale covers 11 * 2^(scales - 1) px, most of the image,
    and fits only near the middle, if at all. Use ``ssim`` for regions.

    Shapes: output, target (N, C, H, W) in [0, 1] -> (N,). Range: [0, 1], 1 for equal images.

    Args:
        scales: Number of scales (default: as many as fit the images).

    Raises:
        RecipeError: when the scales do not fit the images.
    """

    higher_is_better: ClassVar[bool] = True
    default: ClassVar[bool] = True
    bounds: ClassVar[tuple[float, float]] = (0.0, 1.0)

    def __init__(self, *, data: DataInfo, scales: Annotated[int, Ge(1), Le(5)] | None = None) -> None:
        super().__init__()
        self.data = data
        self.exponents = exponents_for(data.size, scales)
        self._all_scales = len(self.exponents) == len(FIVE_WEIGHTS)

    @property
    def card(self) -> dict[str, str]:
        package = f"pytorch-msssim {version('pytorch-msssim')}"
        return {
            "implementation": package if self._all_scales else "enface",
            "scales": str(len(self.exponents)),
            "exponents": " ".join(f"{exponent:.4f}" for exponent in self.exponents),
            "window": f"Gaussian, {WINDOW} px, sigma {SIGMA}, inside the image",
            "data_range": "1",
            "colour": mean_colour_text(self.data),
            "crop": "none",
            "resize": "none",
        }

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        if self._all_scales:
            return pytorch_msssim.ms_ssim(*channels_last(output, target), data_range=1.0, size_average=False)
        return multi_scale_ssim(output, target, self.exponents)
