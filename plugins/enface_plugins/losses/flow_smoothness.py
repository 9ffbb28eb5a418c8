"""Smoothness of a flow within the target's edges."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar

import torch
from annotated_types import Ge
from torch import Tensor

from enface import Loss
from enface_plugins.filters import forward_differences
from enface_plugins.flows import HINTS


class FlowSmoothness(Loss):
    """Difference between the flows of neighbouring pixels, less where the target has an edge.

    |Dx flow| exp(-alpha |Dx target|) + |Dy flow| exp(-alpha |Dy target|), with D the right or lower neighbour minus the
    pixel, and the target's differences averaged over its planes; 0 in the last column or row. After Godard, Mac Aodha
    and Brostow, "Unsupervised monocular depth estimation with left-right consistency", CVPR 2017, for disparities;
    for flow, with ``alpha``: Jonschkowski et al., "What matters in unsupervised optical flow", ECCV 2020, first-order.

    Shapes: flow (N, K, 2, H, W), target (N, C, H, W) -> (N, 2 K, H, W). Range: [0, inf). Unit: pixels of flow per
    pixel.

    Args:
        alpha: Strength of edges; the weight is 1/e at a difference of 1 / ``alpha`` in units of the image ([-1, 1]).
    """

    aliases = ("edge_aware_smoothness",)
    unit = "per pixel"
    non_negative = True
    hints: ClassVar[Mapping[str, str]] = HINTS

    def __init__(self, *, alpha: Annotated[float, Ge(0)] = 10.0) -> None:
        super().__init__()
        self.alpha = alpha

    def forward(self, flow: Tensor, target: Tensor) -> Tensor:
        fields = flow.flatten(1, 2)
        steps = zip(forward_differences(fields), forward_differences(target), strict=True)
        weighted = [step.abs() * (-self.alpha * edge.abs().mean(1, keepdim=True)).exp() for step, edge in steps]
        return torch.stack(weighted).sum(0)
