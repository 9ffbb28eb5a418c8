"""Generators: networks that produce the output."""

from __future__ import annotations

from enface_plugins.generators.nafnet import Nafnet
from enface_plugins.generators.resnet import Resnet
from enface_plugins.generators.siamese import Siamese
from enface_plugins.generators.unet import Unet
from enface_plugins.generators.warp import Warp

COMPONENTS = (
    Nafnet,
    Resnet,
    Siamese,
    Unet,
    Warp,
)
