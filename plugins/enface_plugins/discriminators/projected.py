"""The discriminator on features of a pretrained network."""

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
from enface_plugins.backbones import Backbone, seen_through
from enface_plugins.discriminators.blocks import Verdict, conv, judge

USUAL = {
    "vgg16": ("relu2_2", "relu3_3", "relu4_3", "relu5_3"),
    "alexnet": ("relu1", "relu2", "relu3", "relu5"),
}


class Projected(Discriminator):
    """Judges what a frozen, pretrained classifier sees: a small critic on each of several layers' features.

    Each layer's features are mixed by a random 1x1 convolution that is drawn once and never trained, so that no few
    channels can be singled out; then a head judges them: three 3x3 convolutions with spectral norm, the second of
    stride 2, with group norm and LeakyReLU 0.2 between. Only the heads learn. After Sauer et al., "Projected GANs
    converge faster", NeurIPS 2021. Left out of it: mixing across scales (the paper's random U-Net between layers), its
    augmentation of what the critic sees, and EfficientNet as the backbone; its heads go down to 4x4 logits, with batch
    norm.

    The backbone is not part of a checkpoint; a run that goes on needs it where it was. It brings a preference of its
    own: ImageNet's, which knows textures better than faces.

    Shapes: image (N, 3, H, H) in [-1, 1] -> ``logits``: a tensor (N, 1, h, h) for each layer, where h is half the side
    of that layer's features, rounded up (96 px, VGG-16: 24, 12, 6, 3); and ``features``: the two activations of the
    first layer's head, then the second's, and so on.

    Args:
        backbone: A classification network of torchvision. The weights of ``vgg16`` and ``alexnet`` come by ``enface
            weights fetch``; any other needs ``weights`` and ``layers``.
        weights: A file of the backbone's state dict, ``.safetensors`` or ``.pth``, in place of the fetched weights.
        layers: Layers to judge, by torchvision's name (``features.15``, ``layer3``) or, for VGG and AlexNet, by the
            usual one (``relu3_3``). By default the last of VGG-16's blocks 2 to 5, or AlexNet's relu1, 2, 3 and 5.
        channels: Channels that each layer's features are mixed to.
        width: Channels of each head's first layer; the second has twice as many.

    Raises:
        RecipeError: when there is no such backbone or layer, or it takes no images of this size.
        WeightsError: when the weights are missing or do not fit.
    """

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
        named = dict.fromkeys(USUAL.get(backbone, ()) if layers is None else layers)
        if not named:
            raise RecipeError(f"projected with backbone: {backbone} needs 'layers', at least one")
        self.backbone = Backbone(backbone, named, data.size, weights)
        # Hooks, not buffers that are not saved: batch norm that spans processes needs parameters.
        self.backbone.register_state_dict_post_hook(_drop)
        self.register_load_state_dict_post_hook(_forgive)
        self.heads = nn.ModuleList()
        for layer in named:
            shape = self.backbone.shapes[layer]
            if len(shape) != 3:
                raise RecipeError(f"projected: layer {layer!r} of {backbone} gives {shape}, not a map over the image")
            self.heads.append(_Head(shape[0], channels, width))

    @classmethod
    def example(cls, folder: Path) -> Mapping[str, Any]:
        return {"backbone": "alexnet", "layers": ["relu1", "relu3"], "channels": 8, "width": 4}

    @classmethod
    def networks(cls, params: Mapping[str, Any]) -> tuple[str, ...]:
        return (seen_through(params.get("backbone", "vgg16"), params.get("weights")),)

    def forward(self, image: Tensor) -> dict[str, tuple[Tensor, ...]]:
        logits: list[Tensor] = []
        features: list[Tensor] = []
        for seen, head in zip(self.backbone(image).values(), self.heads, strict=True):
            found = head(seen)
            logits.append(found["logits"])
            features += found["features"]
        return {"logits": tuple(logits), "features": tuple(features)}


class _Head(nn.Module):
    """A critic of one layer's features."""

    mix: Tensor

    def __init__(self, inputs: int, channels: int, width: int) -> None:
        super().__init__()
        # Kept in checkpoints, for it is drawn: what the head has learnt means nothing with another.
        self.register_buffer("mix", torch.randn(channels, inputs, 1, 1) / math.sqrt(inputs))
        self.blocks = nn.ModuleList([_block(channels, width, stride=1), _block(width, 2 * width, stride=2)])
        self.judge = conv(2 * width, 1, kernel=3, spectral=True)

    def forward(self, seen: Tensor) -> Verdict:
        return judge(self.blocks, self.judge, functional.conv2d(seen, self.mix))


def _block(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    # Not batch norm, so that an image is judged by itself; and some norm, for the layers' features differ in scale.
    groups = math.gcd(outputs, max(1, outputs // 8))
    layer = conv(inputs, outputs, kernel=3, stride=stride, bias=False, spectral=True)
    return nn.Sequential(layer, nn.GroupNorm(groups, outputs), nn.LeakyReLU(0.2))


def _drop(module: nn.Module, state: dict[str, Tensor], prefix: str, _metadata: Any) -> None:
    """Take a module's tensors out of the state that is being gathered."""
    for name in [name for name in state if name.startswith(prefix)]:
        del state[name]


def _forgive(module: nn.Module, incompatible: Any) -> None:
    """Do not miss the backbone in a state that is being loaded."""
    incompatible.missing_keys[:] = [name for name in incompatible.missing_keys if "backbone.network." not in name]
