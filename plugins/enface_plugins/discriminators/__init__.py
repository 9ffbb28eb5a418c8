"""Discriminators: networks that judge images."""

from __future__ import annotations

from enface_plugins.discriminators.patch_gan import PatchGAN

COMPONENTS = (PatchGAN,)
