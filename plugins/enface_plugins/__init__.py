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
    import enface
    from enface_plugins import augmentations, datasets, discriminators, generators, losses, masks
    from enface_plugins import optimizers, schedules  # isort: skip

    packages = [losses, masks, discriminators, augmentations, schedules, generators, datasets, optimizers]
    if hasattr(enface, "Metric"):
        # The base class comes with the tool that measures.
        from enface_plugins import metrics

        packages.append(metrics)
    return [component for package in packages for component in package.COMPONENTS]


@hookimpl
def weights() -> list[Weights]:
    """The pretrained trunks that metrics and perceptual losses use."""
    from enface_plugins.pretrained.networks import TRUNKS

    return list(TRUNKS)
