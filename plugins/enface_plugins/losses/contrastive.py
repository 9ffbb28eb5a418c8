"""Contrastive loss on pairs of codes."""

from __future__ import annotations

from typing import Annotated

import torch
from annotated_types import Gt
from torch import Tensor

from enface import Loss


class Contrastive(Loss):
    """Pulls the codes of matching pairs together and pushes those of other pairs apart, up to a margin.

    same * d^2 + (1 - same) * max(0, margin - d)^2, with d the Euclidean distance of the flattened codes.
    After Hadsell, Chopra and LeCun, "Dimensionality reduction by learning an invariant mapping", CVPR 2006,
    without its factors 1/2. The term names the pair:
    ``inputs: {a: identity_code, b: partner_identity_code, same: same_identity}``.

    Equal codes of other pairs get no gradient, because no direction is better than another.

    Shapes: a, b (N, ...), same (N,) bool or float in [0, 1] -> (N,). Range: [0, inf).

    Args:
        margin: Distance beyond which the codes of other pairs are not pushed further, in units of the code.
    """

    unit = "per image"
    non_negative = True

    def __init__(self, *, margin: Annotated[float, Gt(0)] = 2.0) -> None:
        super().__init__()
        self.margin = margin

    def forward(self, a: Tensor, b: Tensor, same: Tensor) -> Tensor:
        # vector_norm has gradient 0 at 0, where sqrt(sum of squares) would give NaN.
        distance = torch.linalg.vector_norm((a - b).flatten(1), dim=1)
        same = same.to(distance.dtype)
        return same * distance.square() + (1 - same) * (self.margin - distance).relu().square()
