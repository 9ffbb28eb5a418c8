"""Initialisation and size checks that generators share."""

from __future__ import annotations

from torch import nn

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


def check_multiple(name: str, data: DataInfo, multiple: int, *, smallest: int = 0, remedy: str = "") -> None:
    """Check that height and width are multiples of a number.

    Args:
        name: The generator, and parameters that the number depends on, for messages.
        smallest: Smallest height and width (default: ``multiple``).
        remedy: Another remedy than a size.

    Raises:
        RecipeError: when they are not; suggests the nearest sizes.
    """
    smallest = smallest or multiple
    if all(side % multiple == 0 and side >= smallest for side in data.size):
        return
    least = f" and at least {smallest}" if smallest > multiple else ""
    raise RecipeError(
        f"{name} needs images whose height and width are a multiple of {multiple}{least}; "
        f"for size: {recipe_size(data.size)} use {nearest_sizes(data.size, multiple, smallest)}{remedy}"
    )
