"""Absolute error."""

from __future__ import annotations

from torch import Tensor

from enface import Loss


class L1(Loss):
    """Absolute error, |output - target|.

    The gradient has the same magnitude for small and large errors, so the result tends to the median of the possible
    targets, which is sharper than with :class:`~enface_plugins.losses.mse.MSE`.

    Shapes: output, target (N, C, H, W) -> (N, C, H, W). Range: [0, 2] for images in [-1, 1].
    """

    aliases = ("mae", "mean_absolute_error", "pixel")
    unit = "per pixel"
    distance = True
    non_negative = True

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        return (output - target).abs()
