"""Initialisation, size checks and halving of any size that generators share."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, pad

from enface import DataInfo, RecipeError
from enface_plugins.planes import nearest_sizes, recipe_size


def initialize(module: nn.Module) -> None:
    """Initialise as pix2pix does, for ``Module.apply``: convolutions N(0, 0.02), norms N(1, 0.02), biases 0."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(module.weight, 0.0, 0.02)
    elif isinstance(module, nn.BatchNorm2d | nn.InstanceNorm2d) and module.affine:
        nn.init.normal_(module.weight, 1.0, 0.02)
    else:
        return
    if module.bias is not None:
        nn.init.zeros_(module.bias)


def check_multiple(name: str, data: DataInfo, multiple: int) -> None:
    """Check that height and width are multiples of a number.

    Args:
        name: The generator, for messages.

    Raises:
        RecipeError: when they are not; suggests the nearest sizes.
    """
    if any(side % multiple for side in data.size):
        raise RecipeError(
            f"{name} needs images whose height and width are a multiple of {multiple}; "
            f"for size: {recipe_size(data.size)} use {nearest_sizes(data.size, multiple, multiple)}"
        )


def check_side(name: str, data: DataInfo, smallest: int, remedy: str = "") -> None:
    """Check that height and width are at least a number.

    Args:
        name: The generator, and parameters that the number depends on, for messages.
        remedy: Another remedy than a larger size.

    Raises:
        RecipeError: when they are not; suggests the smallest size.
    """
    if data.shorter_side < smallest:
        height, width = (max(side, smallest) for side in data.size)
        raise RecipeError(
            f"{name} needs images of at least {smallest} px; for size: {recipe_size(data.size)} "
            f"use {recipe_size((height, width))}{remedy}"
        )


def halvable(features: Tensor) -> Tensor:
    """Append a row and a column of zeros to features (N, C, H, W) if a side is odd.

    A convolution of stride 2 then rounds odd sides up. One with an even kernel skips what was appended to an even side,
    which happens while torch.export traces a symbolic size.
    """
    # While torch.export traces a symbolic size, it must not branch on it.
    if any(_is_symbolic(side) or side % 2 for side in features.shape[-2:]):
        return pad(features, (0, 1, 0, 1))
    return features


def at_least(image: Tensor, smallest: int) -> Tensor:
    """Repeat the last row and column of an image (N, C, H, W) until no side is smaller than a number."""
    down, right = (0 if _is_symbolic(side) else max(smallest - side, 0) for side in image.shape[-2:])
    return pad(image, (0, right, 0, down), mode="replicate") if down or right else image


def averaged(field: Tensor, level: int) -> Tensor:
    """Halve a field (N, C, H, W) ``level`` times by averaging its pixels; odd sides are rounded up."""
    return avg_pool2d(field, 2**level, ceil_mode=True) if level else field


def crop_like(features: Tensor, other: Tensor) -> Tensor:
    """Crop features (N, C, H, W) at the right and at the bottom to the height and width of other features."""
    height, width = other.shape[-2:]
    if not _is_symbolic(height):
        return features[..., :height, :width]
    # Slices would compare the sizes, which torch.export takes as a restriction to sizes of the same parity.
    rows, columns = (torch.arange(side, device=features.device) for side in (height, width))
    return features.index_select(-2, rows).index_select(-1, columns)


def _is_symbolic(side: int | torch.SymInt) -> bool:
    return isinstance(side, torch.SymInt)
