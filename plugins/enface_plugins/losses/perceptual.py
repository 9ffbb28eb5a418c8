"""Perceptual loss: distance of a pretrained network's features."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from annotated_types import Ge
from torch import Tensor

from enface import DataInfo, Loss, RecipeError
from enface_plugins.backbones import Backbone, default_layers, seen_through


class Perceptual(Loss):
    """Distance of the features that a frozen, pretrained classifier has of output and target.

    sum over layers l of weight_l (mean |F_l(output) - F_l(target)|, or the mean of its square, plus
    style ||G_l(output) - G_l(target)||^2), with F_l (C, H, W) the features and G_l = F_l F_l^T / (C H W) their Gram
    matrix: which features come together, wherever they are. After Johnson, Alahi and Fei-Fei, "Perceptual losses for
    real-time style transfer and super-resolution", ECCV 2016; the Gram term after Gatys, Ecker and Bethge, "Image
    style transfer using convolutional neural networks", CVPR 2016.

    By default the five layers of pix2pixHD (Wang et al., CVPR 2018) and its L1: a paired output should agree with its
    target from edges to parts of the face, and Johnson's single relu3_3 sees 40 pixels at once, less than half of
    a small face (``layers: {relu3_3: 1}, distance: l2`` is that). The target's features take no gradient.

    Shapes: output, target (N, 3, H, W) in [-1, 1] -> (N,). Range: [0, inf), in units of the features, so
    numbers of different backbones and layers do not compare.

    Args:
        backbone: A classification network of torchvision. The weights of ``vgg16`` and ``alexnet`` come by ``enface
            weights fetch``; any other needs ``weights``.
        weights: A file of the backbone's state dict, ``.safetensors`` or ``.pth``, in place of the fetched weights.
        layers: Weight of each layer, by torchvision's name (``features.15``, ``layer3``) or, for VGG and AlexNet, by
            the usual one (``relu3_3``). By default relu1_1 1/32, relu2_1 1/16, relu3_1 1/8, relu4_1 1/4, relu5_1 1.
        distance: ``l1``, the mean absolute difference of features, or ``l2``, the mean squared one.
        style: Weight of the Gram term beside the distance; 0 leaves it out.

    Raises:
        RecipeError: when there is no such backbone or layer, or it takes no images of this size.
        WeightsError: when the weights are missing or do not fit.
    """

    unit = "per image"
    distance = True
    non_negative = True

    def __init__(
        self,
        *,
        backbone: str = "vgg16",
        weights: Path | None = None,
        layers: dict[str, Annotated[float, Ge(0)]] | None = None,
        distance: Literal["l1", "l2"] = "l1",
        style: Annotated[float, Ge(0)] = 0.0,
        data: DataInfo,
    ) -> None:
        super().__init__()
        self.layers = {layer: weight for layer, weight in (layers or default_layers(backbone) or {}).items() if weight}
        if not self.layers:
            raise RecipeError(f"perceptual with backbone: {backbone} needs 'layers' with a weight above 0")
        self.distance, self.style = distance, style
        self.backbone = Backbone(backbone, self.layers, data.size, weights)
        flat = [layer for layer, shape in self.backbone.shapes.items() if len(shape) != 3]
        if style and flat:
            raise RecipeError(f"layer {flat[0]!r} of {backbone} has no maps (C, H, W), so 'style' must be 0")

    @classmethod
    def networks(cls, params: Mapping[str, Any]) -> tuple[str, ...]:
        return (seen_through(params.get("backbone", "vgg16"), params.get("weights")),)

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        wanted, found = self.backbone.fixed(target), self.backbone(output)
        total = output.new_zeros(len(output))
        for layer, weight in self.layers.items():
            total = total + weight * self._apart(found[layer], wanted[layer])
        return total

    def _apart(self, found: Tensor, wanted: Tensor) -> Tensor:
        error = found - wanted
        apart = (error.abs() if self.distance == "l1" else error.square()).flatten(1).mean(1)
        if not self.style:
            return apart
        return apart + self.style * (gram(found) - gram(wanted)).square().sum((1, 2))


def gram(features: Tensor) -> Tensor:
    """(N, C, H, W) -> the products of every two channels summed over positions, over C H W: (N, C, C)."""
    flat = features.flatten(2)
    return flat @ flat.mT / flat[0].numel()
