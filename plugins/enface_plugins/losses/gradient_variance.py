"""Squared error of the variance of image gradients in patches."""

from __future__ import annotations

from typing import Annotated

import torch
from annotated_types import Ge
from torch import Tensor
from torch.nn import functional

from enface import DataInfo, Loss
from enface_plugins.filters import forward_differences
from enface_plugins.planes import require_side


class GradientVariance(Loss):
    """Squared error of the gradients' variance within patches: the target's amount of detail, at any position.

    The variance is taken over each patch of the differences to the right and lower neighbour, for every channel. A
    blurred output has too little of it, whatever its mean error. The loss does not say where an edge belongs, so
    combine it with a term that does. After Abrahamyan, Truong, Philips and Deligiannis, "Gradient variance loss for
    structure-enhanced image super-resolution", ICASSP 2022, with plain differences instead of Sobel's, which miss the
    finest detail, and each channel instead of the grey image.

    Shapes: output, target (N, C, H, W) -> (N, 2 C, h, w), h = H // patch, w = W // patch. Range: [0, 16] for images in
    [-1, 1], usually below 0.01. Unit: the image's, to the fourth power.

    Args:
        patch: Side of a patch in pixels; a remainder at the right and lower border is ignored. A mask fits the patches
            exactly if height and width are multiples.

    Raises:
        RecipeError: when a side of the images is smaller than a patch.
    """

    unit = "per patch"
    non_negative = True

    def __init__(self, *, patch: Annotated[int, Ge(2)] = 8, data: DataInfo) -> None:
        super().__init__()
        require_side(f"gradient_variance with patch: {patch}", data, patch)
        self.patch = patch

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        return (self._variances(output) - self._variances(target)).square()

    def _variances(self, images: Tensor) -> Tensor:
        differences = [functional.unfold(item, self.patch, stride=self.patch) for item in forward_differences(images)]
        count, channels, height, width = images.shape
        side = self.patch**2
        shape = (count, channels, side, height // self.patch, width // self.patch)
        return torch.cat([item.view(shape).var(2, correction=0) for item in differences], dim=1)
