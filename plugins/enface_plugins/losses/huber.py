"""The Huber loss."""

from __future__ import annotations

from typing import Annotated

from annotated_types import Gt
from torch import Tensor
from torch.nn import functional

from enface import Loss


class Huber(Loss):
    """Squared error up to ``delta``, absolute error beyond.

    With d = |output - target|: d^2 / 2 up to ``delta``, delta * (d - delta / 2) beyond. After Huber, "Robust
    estimation of a location parameter", Annals of Mathematical Statistics 1964. The gradient never exceeds
    ``delta``, so a smaller ``delta`` needs a larger weight.

    Shapes: output, target (N, C, H, W) -> (N, C, H, W). Range: [0, delta * (2 - delta / 2)] for images in
    [-1, 1] and ``delta`` up to 2. Unit: the image's, squared.

    Args:
        delta: Error at which the curve turns from squared to absolute, in units of the image ([-1, 1]); 0.1 is
            about 13 of 255 grey levels.
    """

    aliases = ("smooth_l1",)
    unit = "per pixel"
    distance = True
    non_negative = True

    def __init__(self, *, delta: Annotated[float, Gt(0)] = 0.1) -> None:
        super().__init__()
        self.delta = delta

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        return functional.huber_loss(output, target, reduction="none", delta=self.delta)
