"""An elliptic mask for aligned faces."""

from __future__ import annotations

from typing import Annotated

import torch
from annotated_types import Ge, Gt, Le
from torch import Tensor

from enface import DataInfo, Mask, Schedulable, as_schedule
from enface_plugins.masks.inside_outside import inside_outside

Fraction = Annotated[float, Ge(0), Le(1)]


class Ellipse(Mask):
    """One weight inside an ellipse, another outside, with a soft transition.

    outside + (inside - outside) * shape. With r = 1 on the ellipse and 0 at its center, shape is 1 for
    r <= 1 - falloff, 0 for r > 1, and between them 3 t^2 - 2 t^3 with t = (1 - r) / falloff, evaluated at pixel
    centers.

    Shape: (1, 1, H, W). Range: between ``inside`` and ``outside``.

    Args:
        inside: Weight inside, >= 0.
        outside: Weight outside, >= 0.
        center: Center of the ellipse (x, y), as fractions of the image's width and height from the top left.
        axes: Full width and height of the ellipse, as fractions of the image's.
        falloff: Fraction of the distance from the edge to the center over which the weight changes; 0 is a hard edge.
    """

    shape: Tensor

    def __init__(
        self,
        *,
        inside: Schedulable = 1.0,
        outside: Schedulable = 0.0,
        center: tuple[Fraction, Fraction] = (0.5, 0.5),
        axes: tuple[Annotated[float, Gt(0)], Annotated[float, Gt(0)]] = (0.75, 0.95),
        falloff: Fraction = 0.2,
        data: DataInfo,
    ) -> None:
        super().__init__()
        self.inside, self.outside = as_schedule(inside), as_schedule(outside)
        # Not persistent: it follows from the recipe, so checkpoints need not store it.
        self.register_buffer("shape", _soft_ellipse(data.size, center, axes, falloff), persistent=False)

    def forward(self, step: int) -> Tensor:
        return inside_outside("ellipse", step, self.shape, self.inside, self.outside)


def _soft_ellipse(
    size: tuple[int, int], center: tuple[float, float], axes: tuple[float, float], falloff: float
) -> Tensor:
    down, across = ((torch.arange(side) + 0.5) / side for side in size)
    x = (across - center[0]) / (axes[0] / 2)
    y = (down - center[1]) / (axes[1] / 2)
    radius = torch.hypot(x[None, :], y[:, None])[None, None]
    if falloff == 0:
        return (radius <= 1).float()
    t = ((1 - radius) / falloff).clamp(0, 1)
    return t.square() * (3 - 2 * t)
