"""Names and pictures under which observers log values and sample images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from enface import Run

TAGS = {"term": "loss", "weighted": "weighted_loss"}
"""First part of a tag, by that of a value of the log."""


def tags(run: Run, stage: str, values: Mapping[str, float]) -> dict[str, float]:
    """Return the values of a step by tag: those of losses by their labels, because metrics may have the same names."""
    return {_tag(run, stage, name): value for name, value in values.items()}


def _tag(run: Run, stage: str, name: str) -> str:
    kind, _, term = name.partition("/")
    if kind not in TAGS:
        return name
    # A tag may not contain brackets.
    return f"{TAGS[kind]}/{run.recipe.stages[stage].label(term).replace(' (', '/').removesuffix(')')}"


def picture(images: Tensor) -> Tensor:
    """Return images (N, C, H, W) in [-1, 1] as one picture (C, H', W') in [0, 1], eight per row."""
    # Imported here, because it takes a second and every command loads this module.
    from torchvision.utils import make_grid

    from enface_plugins.planes import shown

    return make_grid(shown(images), 8, normalize=True, value_range=(-1, 1))
