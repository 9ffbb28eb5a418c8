"""Contextual loss: features compared without regard to where they are."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import torch
from annotated_types import Ge, Gt
from torch import Tensor
from torch.nn import functional

from enface import DataInfo, Loss, RecipeError
from enface_plugins.backbones import Backbone, seen_through


class Contextual(Loss):
    """Asks that every feature of the target be the nearest to some feature of the output, wherever that is.

    With d_ij the cosine distance between feature i of the output and j of the target, both less the target's mean:
    d'_ij = d_ij / (min_k d_ik + 1e-5), CX_ij = softmax over j of (1 - d'_ij) / bandwidth, and the loss is
    -log mean_j max_i CX_ij. Forgives shifts between output and target that a perceptual loss punishes. After
    Mechrez, Talmi and Zelnik-Manor, "The contextual loss for image transformation with non-aligned data", ECCV 2018.

    The target's features take no gradient. Distances take ``points``^2 numbers an image.

    Shapes: output, target (N, 3, H, W) in [-1, 1] -> (N,). Range: [0, log of the number of positions], 0 when every
    feature of the target stands out in the output.

    Args:
        backbone: A classification network of torchvision, as for ``perceptual``.
        weights: A file of the backbone's state dict, in place of the fetched weights.
        layer: Whose features, of maps (C, H, W).
        bandwidth: How far behind the nearest another feature may be and still count, in multiples of its distance.
        points: The most positions compared: larger maps are read at every second, third ... row and column.

    Raises:
        RecipeError: when there is no such backbone or layer, or it takes no images of this size.
        WeightsError: when the weights are missing or do not fit.
    """

    unit = "per image"
    non_negative = True

    def __init__(
        self,
        *,
        backbone: str = "vgg16",
        weights: Path | None = None,
        layer: str = "relu3_2",
        bandwidth: Annotated[float, Gt(0)] = 0.5,
        points: Annotated[int, Ge(4)] = 1024,
        data: DataInfo,
    ) -> None:
        super().__init__()
        self.layer, self.bandwidth = layer, bandwidth
        self.backbone = Backbone(backbone, [layer], data.size, weights)
        shape = self.backbone.shapes[layer]
        if len(shape) != 3:
            raise RecipeError(f"layer {layer!r} of {backbone} has no maps (C, H, W), which contextual compares")
        self.stride = stride_for(shape[1], shape[2], points)

    @classmethod
    def networks(cls, params: Mapping[str, Any]) -> tuple[str, ...]:
        return (seen_through(params.get("backbone", "vgg16"), params.get("weights")),)

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        wanted = self._points(self.backbone.fixed(target)[self.layer])
        found = self._points(self.backbone(output)[self.layer])
        return contextual(found, wanted, self.bandwidth)

    def _points(self, features: Tensor) -> Tensor:
        return features[:, :, :: self.stride, :: self.stride].flatten(2)


def stride_for(height: int, width: int, points: int) -> int:
    """The least stride that leaves at most so many positions."""
    stride = 1
    while math.ceil(height / stride) * math.ceil(width / stride) > points:
        stride += 1
    return stride


def contextual(found: Tensor, wanted: Tensor, bandwidth: float) -> Tensor:
    """Contextual loss of two sets of features (N, C, P) and (N, C, Q): (N,)."""
    centre = wanted.mean(2, keepdim=True)
    found, wanted = (functional.normalize(item - centre, dim=1, eps=1e-6) for item in (found, wanted))
    # Below 0 only by rounding.
    distance = (1 - found.mT @ wanted).clamp_min(0)
    relative = distance / (distance.amin(2, keepdim=True) + 1e-5)
    similarity = torch.softmax((1 - relative) / bandwidth, dim=2)
    return -similarity.amax(1).mean(1).log()
