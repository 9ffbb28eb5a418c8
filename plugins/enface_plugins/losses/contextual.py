"""Contextual loss: compares features regardless of their position."""

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
from enface_plugins.backbones import Backbone, backbone_network_name
from enface_plugins.planes import require_rgb


class Contextual(Loss):
    """Compares features regardless of position: each target feature should be the nearest to some output feature.

    With d_ij the cosine distance between feature i of the output and j of the target, both minus that target's mean:
    d'_ij = d_ij / (min_k d_ik + 1e-5), CX_ij = softmax over j of (1 - d'_ij) / bandwidth, and the loss is
    -log mean_j max_i CX_ij. Tolerates shifts between output and target that a perceptual loss penalises. After
    Mechrez, Talmi and Zelnik-Manor, "The contextual loss for image transformation with non-aligned data", ECCV 2018.

    It differs from the authors' code (github.com/roimehrez/contextualLoss): that centres by the mean of the whole
    batch's targets, here each image is centred by its own target's, so that its value does not depend on the batch; it
    samples large maps at random, here on a grid; it adds conv3_2 and conv4_2 of VGG-19, here one layer of VGG-16; and
    it halves the distances, so that its 1e-5 would be 2e-5 here.

    No gradient flows through the target. The distances take ``points``^2 numbers per image.

    Shapes: output, target (N, 3 or 1, H, W) in [-1, 1] -> (N,). Range: [0, log of the number of positions], 0 if every
    feature of the target has a distinct match in the output.

    Args:
        backbone: A classification network of torchvision, as for ``perceptual``.
        weights: File of the backbone's state dict; default: the fetched weights.
        layer: Layer whose feature maps (C, H, W) are compared.
        bandwidth: Excess distance at which a feature still counts, in multiples of the nearest one's distance.
        points: Maximum number of positions compared; larger maps are sampled at every second, third ... row and column.

    Raises:
        RecipeError: when the backbone or layer does not exist, or does not accept images of this size, or the images
            are neither RGB nor grey.
        WeightsError: when the weights are missing or do not fit.
    """

    aliases = ("cx",)
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
        require_rgb("contextual", data)
        self.backbone = Backbone(backbone, [layer], data.size, weights)
        shape = self.backbone.shapes[layer]
        if len(shape) != 3:
            raise RecipeError(f"contextual: layer {layer!r} of {backbone} has no maps (C, H, W); use another layer")
        self.stride = stride_for(shape[1], shape[2], points)

    @classmethod
    def networks(cls, params: Mapping[str, Any]) -> tuple[str, ...]:
        return (backbone_network_name(params.get("backbone", "vgg16"), params.get("weights")),)

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        target_features = self._sampled(self.backbone.detached(target)[self.layer])
        output_features = self._sampled(self.backbone(output)[self.layer])
        return contextual(output_features, target_features, self.bandwidth)

    def _sampled(self, features: Tensor) -> Tensor:
        return features[:, :, :: self.stride, :: self.stride].flatten(2)


def stride_for(height: int, width: int, points: int) -> int:
    """Return the smallest stride that leaves at most ``points`` positions."""
    stride = 1
    while math.ceil(height / stride) * math.ceil(width / stride) > points:
        stride += 1
    return stride


def contextual(output: Tensor, target: Tensor, bandwidth: float) -> Tensor:
    """Contextual loss of two sets of features (N, C, P) and (N, C, Q): (N,)."""
    centre = target.mean(2, keepdim=True)
    output, target = (functional.normalize(item - centre, dim=1, eps=1e-6) for item in (output, target))
    # Below 0 only by rounding.
    distance = (1 - output.mT @ target).clamp_min(0)
    relative = distance / (distance.amin(2, keepdim=True) + 1e-5)
    similarity = torch.softmax((1 - relative) / bandwidth, dim=2)
    return -similarity.amax(1).mean(1).log()
