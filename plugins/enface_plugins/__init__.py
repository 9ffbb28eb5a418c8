"""The built-in components, registered through an entry point like any other plugin."""

from __future__ import annotations

from typing import TYPE_CHECKING

from enface import hookimpl

# Processes that read images import this module and the datasets but no torch, which Weights would load.
if TYPE_CHECKING:
    from enface_plugins.pretrained import Weights


@hookimpl
def components() -> list[type]:
    """Every built-in component."""
    from enface_plugins import (
        augmentations,
        datasets,
        discriminators,
        generators,
        losses,
        masks,
        metrics,
        optimizers,
        schedules,
    )

    kinds = (losses, masks, discriminators, augmentations, schedules, generators, datasets, metrics, optimizers)
    return [component for kind in kinds for component in kind.COMPONENTS]


@hookimpl
def weights() -> list[Weights]:
    """The pretrained trunks that metrics and perceptual losses use."""
    from enface_plugins.metrics.pretrained import TRUNKS

    return list(TRUNKS)
