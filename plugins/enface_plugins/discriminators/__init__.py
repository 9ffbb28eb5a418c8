"""Discriminators: networks that tell real images from generated ones."""

from __future__ import annotations

from enface_plugins.discriminators.attributes import Attributes
from enface_plugins.discriminators.conditional_patch_gan import ConditionalPatchGAN
from enface_plugins.discriminators.multi_scale import MultiScale
from enface_plugins.discriminators.patch_gan import PatchGAN
from enface_plugins.discriminators.pixel_gan import PixelGAN
from enface_plugins.discriminators.projected import Projected
from enface_plugins.discriminators.projection import Projection
from enface_plugins.discriminators.unet_gan import UnetGAN

COMPONENTS = (
    PatchGAN,
    ConditionalPatchGAN,
    MultiScale,
    PixelGAN,
    UnetGAN,
    Projection,
    Attributes,
    Projected,
)
