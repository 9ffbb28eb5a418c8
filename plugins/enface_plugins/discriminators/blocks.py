"""Layers and checks that discriminators share."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn
from torch.nn.utils import parametrizations

from enface import DataInfo, RecipeError, px

Norm = Literal["batch", "instance", "none"]
DiscriminatorOutput = dict[str, Tensor | tuple[Tensor, ...]]
"""Return type of a discriminator: ``logits``, ``features`` and whatever else it provides."""


def conv(
    inputs: int, outputs: int, *, kernel: int = 4, stride: int = 1, bias: bool = True, spectral: bool = False
) -> nn.Module:
    """Return a convolution initialised as in pix2pix, N(0, 0.02), that keeps the size (4x4: one pixel less)."""
    layer = nn.Conv2d(inputs, outputs, kernel, stride, padding=(kernel - 1) // 2, bias=bias)
    nn.init.normal_(layer.weight, 0.0, 0.02)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return spectral_norm(layer) if spectral else layer


def spectral_norm(module: nn.Module) -> nn.Module:
    """Divide a layer's weight by its largest singular value (Miyato et al., ICLR 2018)."""
    return parametrizations.spectral_norm(module)


def norm_layer(channels: int, kind: Norm) -> nn.Module:
    """Return a norm layer; ``kind`` must not be ``none``."""
    # Affine in both: pix2pix's instance norm is its batch norm at batch size 1.
    norm = nn.BatchNorm2d(channels) if kind == "batch" else nn.InstanceNorm2d(channels, affine=True)
    nn.init.normal_(norm.weight, 1.0, 0.02)
    return norm


def block(
    inputs: int, outputs: int, norm: Norm, *, kernel: int = 4, stride: int = 1, spectral: bool = False
) -> nn.Sequential:
    """Return a convolution, a norm and LeakyReLU 0.2."""
    layers = nn.Sequential(conv(inputs, outputs, kernel=kernel, stride=stride, bias=norm == "none", spectral=spectral))
    if norm != "none":
        layers.append(norm_layer(outputs, norm))
    return layers.append(nn.LeakyReLU(0.2))


def patch_layers(channels: int, width: int, layers: int, norm: Norm, spectral: bool) -> tuple[nn.ModuleList, nn.Module]:
    """Return the blocks of a patch discriminator for images with ``channels``, and the convolution to its logits."""
    widths = [width * min(2**level, 8) for level in range(layers + 1)]
    blocks = [block(channels, width, "none", stride=2, spectral=spectral)]
    for level in range(1, layers + 1):
        stride = 2 if level < layers else 1
        blocks.append(block(widths[level - 1], widths[level], norm, stride=stride, spectral=spectral))
    return nn.ModuleList(blocks), conv(widths[-1], 1, spectral=spectral)


def logits_and_features(blocks: nn.ModuleList, to_logits: nn.Module, image: Tensor) -> DiscriminatorOutput:
    """Return the logits after a chain of blocks, and each block's activations."""
    features = []
    for layers in blocks:
        image = layers(image)
        features.append(image)
    return {"logits": to_logits(image), "features": tuple(features)}


def smallest_size(layers: int) -> int:
    """Return the shorter side of the smallest image for which a patch discriminator has a logit."""
    return 3 * 2**layers


def check_patch_size(name: str, size: tuple[int, int], layers: int) -> None:
    """Check that images are large enough for a patch discriminator's number of layers.

    Raises:
        RecipeError: when they are too small; the message names the number of layers that fits.
    """
    if min(size) >= smallest_size(layers):
        return
    fitting = max((fewer for fewer in range(1, layers) if min(size) >= smallest_size(fewer)), default=None)
    hint = f"use layers: {fitting} or larger images" if fitting else "use larger images"
    raise RecipeError(
        f"{name} with layers: {layers} needs images of at least {smallest_size(layers)} px, "
        f"these have {px(size)}; {hint}"
    )


def class_count(name: str, column: str, data: DataInfo) -> int:
    """Return the number of classes in a column of the data.

    Raises:
        RecipeError: when the data has no such column; the message lists the others.
    """
    # A key is unique to its image, so it is no class.
    known = {item: count for item, count in data.classes.items() if item != "key"}
    if column not in known:
        raise RecipeError(
            f"{name}: the data has no column {column!r} with classes; known: {', '.join(sorted(known)) or 'none'}"
        )
    return known[column]
