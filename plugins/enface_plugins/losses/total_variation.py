"""Total variation of the output."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from enface import Loss
from enface_plugins.filters import forward_differences


class TotalVariation(Loss):
    """Difference between neighbouring pixels of the output; it smooths and uses no target.

    |Dx output| + |Dy output|, or both squared, with D the right or lower neighbour minus the pixel; 0 in the last
    column or row. After Rudin, Osher and Fatemi, "Nonlinear total variation based noise removal algorithms",
    Physica D 1992, in its anisotropic form, as a mean over pixels instead of a sum.

    Shapes: output (N, C, H, W) -> (N, C, H, W). Range: [0, 4], squared [0, 8], for images in [-1, 1]. Unit: the
    image's, a pixel; squared, that squared.

    Args:
        penalty: ``absolute`` keeps edges and flattens the areas between them; ``squared`` also blurs edges.
    """

    aliases = ("tv", "weighted_tv")
    unit = "per pixel"
    non_negative = True

    def __init__(self, *, penalty: Literal["absolute", "squared"] = "absolute") -> None:
        super().__init__()
        self.penalty = penalty

    def forward(self, output: Tensor) -> Tensor:
        across, down = forward_differences(output)
        if self.penalty == "squared":
            return across.square() + down.square()
        return across.abs() + down.abs()
