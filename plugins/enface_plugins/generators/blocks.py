"""Initialisation and size suggestions that generators share."""

from __future__ import annotations

from torch import nn


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


def nearest_sizes(size: int, multiple: int, smallest: int) -> str:
    """Return the multiples on either side of ``size``, as text for a message; no size below ``smallest``."""
    below = size // multiple * multiple
    return f"{below} or {below + multiple}" if below >= smallest else str(smallest)
