"""Absolute error of spatial derivatives."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from enface import Loss
from enface_plugins.filters import forward_differences


class Gradient(Loss):
    """Absolute error of spatial derivatives: compares edges, regardless of brightness.

    (|Dx(output - target)| + |Dy(output - target)|) / 2. A constant offset costs nothing, so combine it with a term
    that compares colour. After the gradient terms of Mathieu, Couprie and LeCun, "Deep multi-scale video
    prediction beyond mean square error", ICLR 2016, and of Eigen and Fergus, "Predicting depth, surface normals
    and semantic labels with a common multi-scale convolutional architecture", ICCV 2015, which square them.

    Shapes: output, target (N, C, H, W) -> (N, C, H, W). Range: [0, 4] for images in [-1, 1]. Unit: the image's, a
    pixel: a ramp of 0.1 a pixel along one axis against a flat target gives 0.05.

    Args:
        operator: ``sobel`` spans two pixels and averages over three rows (kornia's, normalised so that a ramp gives
            its slope, with the border replicated), so it does not see a checkerboard. ``difference`` is the right or
            lower neighbour minus the pixel, 0 in the last column or row.
    """

    aliases = ("edge", "sobel", "gdl")
    unit = "per pixel"
    distance = True
    non_negative = True

    def __init__(self, *, operator: Literal["sobel", "difference"] = "sobel") -> None:
        super().__init__()
        self.operator = operator

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        across, down = self._derivatives(output - target)
        return (across.abs() + down.abs()) / 2

    def _derivatives(self, images: Tensor) -> tuple[Tensor, Tensor]:
        if self.operator == "difference":
            return forward_differences(images)
        # Imported here to keep the start of recipes without this loss fast.
        from kornia.filters import spatial_gradient

        across, down = spatial_gradient(images, mode="sobel").unbind(2)
        return across, down
