"""Augmentations of a discriminator's input images."""

from __future__ import annotations

from enface_plugins.augmentations.diff_augment import DiffAugment

COMPONENTS = (DiffAugment,)
