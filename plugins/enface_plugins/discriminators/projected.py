"""A discriminator on the features of a pretrained network."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import torch
from annotated_types import Ge
from torch import Tensor, nn
from torch.nn import functional

from enface import DataInfo, Discriminator, RecipeError
from enface_plugins.backbones import Backbone, backbone_network_name
from enface_plugins.discriminators.blocks import DiscriminatorOutput, conv, logits_and_features
from enface_plugins.planes import require_rgb

DEFAULT_LAYERS = {
    "vgg16": ("relu2_2", "relu3_3", "relu4_3", "relu5_3"),
    "alexnet": ("relu1", "relu2", "relu3", "relu5"),
}


class Projected(Discriminator):
    """Discriminator on a frozen, pretrained classifier: a small head on the features of each of several layers.

    Each layer's features are mixed by a random 1x1 convolution that is drawn once and never trained, so that a head
    cannot rely on a few channels. A head has three 3x3 convolutions with spectral norm, the second of stride 2, with
    group norm and LeakyReLU 0.2 between them. Only the heads are trained. After Sauer et al., "Projected GANs converge
    faster", NeurIPS 2021, without mixing across scales (the paper's random U-Net between layers), augmentation of the
    critic's input, and EfficientNet as the backbone; the paper's heads go down to 4x4 logits, with batch norm.

    Checkpoints do not contain the backbone; a resumed run needs it in the same place. Its features are biased towards
    ImageNet, that is, towards textures rather than faces.

    Shapes: image (N, 3 or 1, H, W) in [-1, 1] -> ``logits``: a tensor (N, 1, h, w) for each layer, half the size of
    that layer's features, rounded up (96 px, VGG-16: 24, 12, 6, 3); and ``features``: the two activations of the
    first layer's head, then the second's, and so on.

    Args:
        backbone: A classification network of torchvision. ``enface weights fetch`` downloads the weights of ``vgg16``
            and ``alexnet``; any other needs ``weights`` and ``layers``.
        weights: File of the backbone's state dict, ``.safetensors`` or ``.pth``; default: the fetched weights.
        layers: Layers to use, by torchvision's name (``features.15``, ``layer3``) or, for VGG and AlexNet, by the
            papers' (``relu3_3``). Default: the last ReLU of VGG-16's blocks 2 to 5, or AlexNet's relu1, 2, 3 and 5.
        channels: Channels that each layer's features are mixed to.
        width: Channels of each head's first layer; the second has twice as many.

    Raises:
        RecipeError: when the backbone or layer does not exist, or does not accept images of this size, or the images
            are neither RGB nor grey.
        WeightsError: when the weights are missing or do not fit.
    """

    aliases = ("projected_d", "projected_gan", "fastgan")

    def __init__(
        self,
        *,
        backbone: str = "vgg16",
        weights: Path | None = None,
        layers: tuple[str, ...] | None = None,
        channels: Annotated[int, Ge(1)] = 64,
        width: Annotated[int, Ge(1)] = 64,
        data: DataInfo,
    ) -> None:
        super().__init__()
        names = dict.fromkeys(DEFAULT_LAYERS.get(backbone, ()) if layers is None else layers)
        if not names:
            raise RecipeError(f"projected with backbone: {backbone} needs 'layers', at least one")
        self.logit_scales = len(names)
        require_rgb("projected", data)
        self.backbone = Backbone(backbone, names, data.size, weights)
        # Hooks rather than non-persistent buffers, because batch norm that spans processes needs parameters.
        self.backbone.register_state_dict_post_hook(_remove_tensors)
        self.register_load_state_dict_post_hook(_ignore_missing_backbone)
        self.heads = nn.ModuleList()
        for layer in names:
            shape = self.backbone.shapes[layer]
            if len(shape) != 3:
                raise RecipeError(f"projected: layer {layer!r} of {backbone} gives {shape}, not a map (C, h, w)")
            self.heads.append(_Head(shape[0], channels, width))

    @classmethod
    def example(cls, folder: Path) -> Mapping[str, Any]:
        return {"backbone": "alexnet", "layers": ["relu1", "relu3"], "channels": 8, "width": 4}

    @classmethod
    def networks(cls, params: Mapping[str, Any]) -> tuple[str, ...]:
        return (backbone_network_name(params.get("backbone", "vgg16"), params.get("weights")),)

    def forward(self, image: Tensor) -> dict[str, tuple[Tensor, ...]]:
        logits: list[Tensor] = []
        features: list[Tensor] = []
        for backbone_features, head in zip(self.backbone(image).values(), self.heads, strict=True):
            output = head(backbone_features)
            logits.append(output["logits"])
            features += output["features"]
        return {"logits": tuple(logits), "features": tuple(features)}


class _Head(nn.Module):
    """A discriminator on one layer's features."""

    mix: Tensor

    def __init__(self, inputs: int, channels: int, width: int) -> None:
        super().__init__()
        # Saved in checkpoints, because it is random and the head is trained for it.
        self.register_buffer("mix", torch.randn(channels, inputs, 1, 1) / math.sqrt(inputs))
        self.blocks = nn.ModuleList([_block(channels, width, stride=1), _block(width, 2 * width, stride=2)])
        self.judge = conv(2 * width, 1, kernel=3, spectral=True)

    def forward(self, features: Tensor) -> DiscriminatorOutput:
        return logits_and_features(self.blocks, self.judge, functional.conv2d(features, self.mix))


def _block(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    # A norm, because the layers' features differ in scale; not batch norm, so that logits do not depend on the batch.
    groups = math.gcd(outputs, max(1, outputs // 8))
    layer = conv(inputs, outputs, kernel=3, stride=stride, bias=False, spectral=True)
    return nn.Sequential(layer, nn.GroupNorm(groups, outputs), nn.LeakyReLU(0.2))


def _remove_tensors(module: nn.Module, state: dict[str, Tensor], prefix: str, _metadata: Any) -> None:
    """Remove a module's tensors from a state dict that is being collected."""
    for name in [name for name in state if name.startswith(prefix)]:
        del state[name]


def _ignore_missing_backbone(module: nn.Module, incompatible: Any) -> None:
    """Do not report the backbone as missing from a state dict that is being loaded."""
    incompatible.missing_keys[:] = [name for name in incompatible.missing_keys if "backbone.network." not in name]
