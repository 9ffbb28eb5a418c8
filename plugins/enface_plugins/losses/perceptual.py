"""Perceptual loss: distance between a pretrained network's features."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from annotated_types import Ge
from torch import Tensor

from enface import DataInfo, Loss, RecipeError
from enface_plugins.backbones import Backbone, backbone_network_name, default_layers
from enface_plugins.planes import require_rgb


class Perceptual(Loss):
    """Distance between a frozen, pretrained classifier's features of output and target.

    sum over layers l of weight_l (mean |F_l(output) - F_l(target)|, or the mean of its square, plus
    style ||G_l(output) - G_l(target)||^2), with F_l (C, H, W) the features and G_l = F_l F_l^T / (C H W) their Gram
    matrix, the co-occurrence of features at any position. After Johnson, Alahi and Fei-Fei, "Perceptual losses for
    real-time style transfer and super-resolution", ECCV 2016; the Gram term after Gatys, Ecker and Bethge, "Image
    style transfer using convolutional neural networks", CVPR 2016.

    The default is the layers, weights and L1 of pix2pixHD (Wang et al., CVPR 2018), which compare everything from edges
    to parts of the face, but of VGG-16 and with images normalised as for ImageNet. pix2pixHD's code
    (github.com/NVIDIA/pix2pixHD) uses VGG-19 and passes it images in [-1, 1], so its values differ. Johnson's single
    relu3_3 (``layers: {relu3_3: 1}, distance: l2``) sees 40 pixels, less than half of a small face. No gradient flows
    through the target.

    Shapes: output, target (N, 3 or 1, H, W) in [-1, 1] -> (N,). Range: [0, inf), in units of the features, so the
    values of different backbones and layers are not comparable.

    Args:
        backbone: A classification network of torchvision. ``enface weights fetch`` downloads the weights of ``vgg16``
            and ``alexnet``; any other needs ``weights``.
        weights: File of the backbone's state dict, ``.safetensors`` or ``.pth``; default: the fetched weights.
        layers: Weight of each layer, by torchvision's name (``features.15``, ``layer3``) or, for VGG and AlexNet, by
            the papers' (``relu3_3``). Default: relu1_1 1/32, relu2_1 1/16, relu3_1 1/8, relu4_1 1/4, relu5_1 1.
        distance: ``l1``, the mean absolute difference of features, or ``l2``, the mean squared one.
        style: Weight of the Gram term, relative to the distance; 0 disables it.

    Raises:
        RecipeError: when the backbone or layer does not exist, or does not accept images of this size, or the images
            are neither RGB nor grey.
        WeightsError: when the weights are missing or do not fit.
    """

    aliases = ("vgg", "vgg16", "vgg19", "content", "style")
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
        require_rgb("perceptual", data)
        self.backbone = Backbone(backbone, self.layers, data.size, weights)
        flat = [layer for layer, shape in self.backbone.shapes.items() if len(shape) != 3]
        if style and flat:
            raise RecipeError(f"perceptual: layer {flat[0]!r} of {backbone} has no maps (C, H, W); set 'style' to 0")

    @classmethod
    def networks(cls, params: Mapping[str, Any]) -> tuple[str, ...]:
        return (backbone_network_name(params.get("backbone", "vgg16"), params.get("weights")),)

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        target_features, output_features = self.backbone.detached(target), self.backbone(output)
        total = output.new_zeros(len(output))
        for layer, weight in self.layers.items():
            total = total + weight * self._layer(output_features[layer], target_features[layer])
        return total

    def _layer(self, output: Tensor, target: Tensor) -> Tensor:
        error = output - target
        distance = (error.abs() if self.distance == "l1" else error.square()).flatten(1).mean(1)
        if not self.style:
            return distance
        return distance + self.style * (gram(output) - gram(target)).square().sum((1, 2))


def gram(features: Tensor) -> Tensor:
    """Return the Gram matrices of features (N, C, H, W), divided by C H W: (N, C, C)."""
    flat = features.flatten(2)
    return flat @ flat.mT / flat[0].numel()
