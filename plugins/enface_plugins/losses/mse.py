"""Squared error."""

from __future__ import annotations

from torch import Tensor

from enface import Loss


class MSE(Loss):
    """Squared error, (output - target)^2.

    The result tends to the mean of the possible targets, which looks blurred where they differ. With
    ``mask_on: images`` the squared error is weighted by the mask's square.

    Shapes: output, target (N, C, H, W) -> (N, C, H, W). Range: [0, 4] for images in [-1, 1].
    """

    aliases = ("l2", "mean_squared_error", "pixel")
    unit = "per pixel"
    distance = True
    non_negative = True

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        return (output - target).square()
