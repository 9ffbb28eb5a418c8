"""Charbonnier's smooth absolute error."""

from __future__ import annotations

from typing import Annotated

from annotated_types import Gt
from torch import Tensor

from enface import Loss


class Charbonnier(Loss):
    """Absolute error made smooth at zero, sqrt((output - target)^2 + eps^2).

    Like :class:`~enface_plugins.losses.l1.L1` for errors far above ``eps`` and like a squared error below it.
    After Charbonnier et al., "Two deterministic half-quadratic regularization algorithms for computed
    imaging", ICIP 1994; in this form in Lai et al., "Deep Laplacian pyramid networks", CVPR 2017 (eps 1e-3).

    Shapes: output, target (N, C, H, W) -> (N, C, H, W). Range: [eps, sqrt(4 + eps^2)] for images in [-1, 1].

    Args:
        eps: Error at which the curve turns from squared to absolute, in units of the image ([-1, 1]).
    """

    unit = "per pixel"
    non_negative = True

    def __init__(self, *, eps: Annotated[float, Gt(0)] = 1e-3) -> None:
        super().__init__()
        self.eps = eps

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        return ((output - target).square() + self.eps**2).sqrt()
