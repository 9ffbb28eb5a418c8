"""Absolute error of blurred images."""

from __future__ import annotations

import math
from typing import Annotated

from annotated_types import Ge
from torch import Tensor

from enface import DataInfo, Loss
from enface_plugins.filters import blur, gaussian_taps
from enface_plugins.planes import require_side


class Color(Loss):
    """Absolute error of blurred images: overall colour and brightness, without detail or exact position.

    |blur(output) - blur(target)| with a Gaussian of ``sigma``, truncated at 3 sigma; the image is reflected at the
    border. After the colour loss of Ignatov et al., "DSLR-quality photos on mobile devices with deep
    convolutional networks", ICCV 2017, which squares and sums.

    Shapes: output, target (N, C, H, W) -> (N, C, H, W). Range: [0, 2] for images in [-1, 1]. Unit: the image's.

    Args:
        sigma: Standard deviation of the Gaussian, in pixels; smaller detail hardly counts.

    Raises:
        RecipeError: when a side of the images is not larger than 3 sigma.
    """

    unit = "per pixel"
    distance = True
    non_negative = True

    def __init__(self, *, data: DataInfo, sigma: Annotated[float, Ge(0.1)] = 3.0) -> None:
        super().__init__()
        radius = math.ceil(3 * sigma)
        require_side(f"color: sigma {sigma:g}", data, radius + 1)
        self.taps = gaussian_taps(sigma, radius)

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        # The blur is linear, so blurring the difference is enough.
        return blur(output - target, self.taps).abs()
