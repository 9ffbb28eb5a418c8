"""Generators: networks that make the output."""

from __future__ import annotations

from enface_plugins.generators.siamese import Siamese
from enface_plugins.generators.unet import Unet

COMPONENTS = (
    Siamese,
    Unet,
)
