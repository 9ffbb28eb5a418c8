"""Colour differences over larger areas."""

from __future__ import annotations

import math
from importlib.metadata import version
from typing import Annotated, ClassVar

from annotated_types import Gt
from torch import Tensor

from enface import DataInfo, Metric
from enface_plugins.metrics.cards import rgb_text
from enface_plugins.planes import as_rgb, require_rgb


class ColorShift(Metric):
    """Mean colour difference, Delta E*ab (CIE 1976), between the blurred images.

    Output and target are blurred by a Gaussian, so that colours of larger areas count and fine detail and small shifts
    do not. The sRGB values are converted to CIE L*a*b* (D65), and the value is the mean of sqrt(dL^2 + da^2 + db^2):
    Robertson, "The CIE 1976 color-difference formulae", Color Research and Application, 1977. A just noticeable
    difference is about 2.3 (Mahy et al., 1994). The formula overstates differences between saturated colours, which
    CIEDE2000 corrects.

    Shapes: output, target (N, 3 or 1, H, W) in [0, 1] -> (N,). Range: [0, about 260], 0 is best. Unit: Delta E*ab;
    black and white are 100 apart.

    Args:
        sigma: Standard deviation of the blur, as a fraction of the image width.

    Raises:
        RecipeError: when the images are neither RGB nor grey.
    """

    higher_is_better: ClassVar[bool] = False
    bounds: ClassVar[tuple[float, float]] = (0.0, math.inf)
    unit: ClassVar[str] = "Delta E*ab"

    def __init__(self, *, sigma: Annotated[float, Gt(0)] = 1 / 24, data: DataInfo) -> None:
        super().__init__()
        require_rgb("color_shift", data)
        self.data = data
        self.sigma = sigma

    @property
    def card(self) -> dict[str, str]:
        return {
            "implementation": f"kornia {version('kornia')}",
            "formula": "CIE 1976 (Delta E*ab), D65",
            "blur": f"Gaussian of sRGB values, sigma {self.sigma:.4g} of the width, reflected at the border",
            "data_range": "1",
            "colour": f"{rgb_text(self.data)} to L*a*b*",
            "crop": "none",
            "resize": "none",
        }

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        return self.map(output, target).flatten(1).mean(1)

    def map(self, output: Tensor, target: Tensor) -> Tensor:
        """Delta E at each pixel, (N, 1, H, W)."""
        return (self._lab(output) - self._lab(target)).norm(dim=1, keepdim=True)

    def _lab(self, image: Tensor) -> Tensor:
        # Imported here, because it takes a third of a second and every command loads this module.
        from kornia.color import rgb_to_lab
        from kornia.filters import gaussian_blur2d

        image = as_rgb(image)
        sigma = self.sigma * image.shape[-1]
        # Three sigmas to each side, limited to what reflection allows.
        reach = min(math.ceil(3 * sigma), min(image.shape[-2:]) - 1)
        size = 2 * reach + 1
        # Rounding may leave [0, 1] slightly, where the roots in L*a*b* are undefined.
        return rgb_to_lab(gaussian_blur2d(image, (size, size), (sigma, sigma), "reflect").clamp(0, 1))
