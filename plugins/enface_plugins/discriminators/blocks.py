"""What the discriminators are built of."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn
from torch.nn.utils import parametrizations

from enface import DataInfo, RecipeError

Norm = Literal["batch", "instance", "none"]
Verdict = dict[str, Tensor | tuple[Tensor, ...]]
"""What a discriminator returns: ``logits``, ``features`` and whatever else it provides."""


def conv(
    inputs: int, outputs: int, *, kernel: int = 4, stride: int = 1, bias: bool = True, spectral: bool = False
) -> nn.Module:
    """A convolution initialised as pix2pix's are, weights from N(0, 0.02), that keeps the size (4x4: less one)."""
    made = nn.Conv2d(inputs, outputs, kernel, stride, padding=(kernel - 1) // 2, bias=bias)
    nn.init.normal_(made.weight, 0.0, 0.02)
    if made.bias is not None:
        nn.init.zeros_(made.bias)
    return spectral_norm(made) if spectral else made


def spectral_norm(module: nn.Module) -> nn.Module:
    """A layer whose weight is divided by its largest singular value (Miyato et al., ICLR 2018)."""
    return parametrizations.spectral_norm(module)


def normalize(channels: int, kind: Norm) -> nn.Module:
    """A norm layer; ``kind`` is not ``none``."""
    # Affine in both: pix2pix's instance norm is its batch norm at batch size 1.
    norm = nn.BatchNorm2d(channels) if kind == "batch" else nn.InstanceNorm2d(channels, affine=True)
    nn.init.normal_(norm.weight, 1.0, 0.02)
    return norm


def block(
    inputs: int, outputs: int, norm: Norm, *, kernel: int = 4, stride: int = 1, spectral: bool = False
) -> nn.Sequential:
    """Convolution, norm, LeakyReLU 0.2."""
    layers = nn.Sequential(conv(inputs, outputs, kernel=kernel, stride=stride, bias=norm == "none", spectral=spectral))
    if norm != "none":
        layers.append(normalize(outputs, norm))
    return layers.append(nn.LeakyReLU(0.2))


def patch_layers(channels: int, width: int, layers: int, norm: Norm, spectral: bool) -> tuple[nn.ModuleList, nn.Module]:
    """The blocks of a patch discriminator for images of so many channels, and the convolution to its logits."""
    widths = [width * min(2**level, 8) for level in range(layers + 1)]
    blocks = [block(channels, width, "none", stride=2, spectral=spectral)]
    for level in range(1, layers + 1):
        stride = 2 if level < layers else 1
        blocks.append(block(widths[level - 1], widths[level], norm, stride=stride, spectral=spectral))
    return nn.ModuleList(blocks), conv(widths[-1], 1, spectral=spectral)


def judge(blocks: nn.ModuleList, to_logits: nn.Module, image: Tensor) -> Verdict:
    """The logits of a chain of blocks, and each block's activations."""
    features = []
    for step in blocks:
        image = step(image)
        features.append(image)
    return {"logits": to_logits(image), "features": tuple(features)}


def smallest_for(layers: int) -> int:
    """The side of the smallest image that leaves a patch discriminator a logit."""
    return 3 * 2**layers


def check_patches(name: str, size: int, layers: int) -> None:
    """Refuse images that are too small for so many layers.

    Raises:
        RecipeError: with the number of layers that fits, if one does.
    """
    if size >= smallest_for(layers):
        return
    fitting = max((fewer for fewer in range(1, layers) if size >= smallest_for(fewer)), default=None)
    hint = f"use layers: {fitting} or larger images" if fitting else "use larger images"
    raise RecipeError(
        f"{name} with layers: {layers} needs images of at least {smallest_for(layers)} px, these have {size}; {hint}"
    )


def classes_of(name: str, column: str, data: DataInfo) -> int:
    """How many classes a column of the data has.

    Raises:
        RecipeError: when the data has no such column, with those it has.
    """
    # A key is each image's own, so there is no class of it.
    known = {item: count for item, count in data.classes.items() if item != "key"}
    if column not in known:
        raise RecipeError(
            f"{name}: the data has no column {column!r} to tell apart; known: {', '.join(sorted(known)) or 'none'}"
        )
    return known[column]
