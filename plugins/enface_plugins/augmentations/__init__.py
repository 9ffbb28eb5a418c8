"""Augmentations: what happens to the images a discriminator is shown."""

from __future__ import annotations

from enface_plugins.augmentations.diff_augment import DiffAugment

COMPONENTS = (DiffAugment,)
