"""The built-in components; they reach the core through an entry point, like anyone's plugin."""

from __future__ import annotations

from typing import TYPE_CHECKING

from enface import hookimpl

# Processes that read images load this module and the datasets, and need no torch, which Weights does.
if TYPE_CHECKING:
    from enface import Weights


@hookimpl
def components() -> list[type]:
    """Every built-in component."""
    from enface_plugins import augmentations, datasets, discriminators, generators, losses, masks, metrics, schedules

    kinds = (losses, masks, discriminators, augmentations, schedules, generators, datasets, metrics)
    return [component for kind in kinds for component in kind.COMPONENTS]


@hookimpl
def weights() -> list[Weights]:
    """The pretrained trunks that metrics and perceptual losses use."""
    from enface_plugins.metrics.pretrained import TRUNKS

    return list(TRUNKS)
