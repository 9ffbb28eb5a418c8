"""A mask of each target's regions."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import torch
from annotated_types import Ge
from torch import Tensor
from torch.nn import functional

from enface import DataInfo, Mask, RecipeError


class Regions(Mask):
    """A weight per region, by the region map of each target.

    A thin or rare part, such as the frame of glasses, is a small share of the pixels and of their mean; a larger weight
    lets it count as much as it is visible. Where dilated regions overlap, the largest weight counts.

    Shape: target_regions (N, H, W), indices of regions -> (N, 1, H, W). Range: between the smallest and the largest of
    ``weights`` and ``others``.

    Args:
        weights: Weight of each region by its name in the data's region maps, >= 0.
        others: Weight of all other pixels, >= 0.
        grow: Pixels by which each named region is dilated, so that both sides of its edge count.

    Raises:
        RecipeError: when the data has no region maps, or a region is unknown.
    """

    table: Tensor

    @classmethod
    def example(cls, folder: Path) -> Mapping[str, Any]:
        return {"weights": {"eyes": 3.0}, "grow": 1}

    def __init__(
        self,
        *,
        weights: dict[str, Annotated[float, Ge(0)]],
        others: Annotated[float, Ge(0)] = 1.0,
        grow: Annotated[int, Ge(0)] = 0,
        data: DataInfo,
    ) -> None:
        super().__init__()
        targets = data.targets(1)
        if targets.regions is None:
            raise RecipeError("regions: the data has no region maps")
        known = targets.region_names
        unknown = [name for name in weights if name not in known]
        if unknown:
            raise RecipeError(f"regions: no region is called {unknown[0]!r}; known: {', '.join(known)}")
        self.grow = grow
        self.others = others
        # -1 marks regions without a weight; weights are never negative.
        table = torch.tensor([weights.get(name, -1.0) for name in known])
        self.register_buffer("table", table, persistent=False)

    def forward(self, target_regions: Tensor) -> Tensor:
        named = self.table[target_regions][:, None]
        if self.grow:
            named = functional.max_pool2d(named, 2 * self.grow + 1, stride=1, padding=self.grow)
        return torch.where(named >= 0, named, named.new_tensor(self.others))
