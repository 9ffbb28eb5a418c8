"""Regions of a recipe's ``evaluation.regions``, which are measured separately."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from enface.errors import EnfaceError, RecipeError, WeightsError
from enface.plugin.components import DataInfo, Mask
from enface.plugin.schema import closest, requested_arguments
from enface.recipe.load import LoadedRecipe
from enface.training.masks import check_weights


@runtime_checkable
class Detects(Protocol):
    """A mask that searches each target for its part and may not find it, unlike a target without the part."""

    def undetected(self, target: Tensor) -> Tensor:
        """Return (N,), True for each target in which the search failed; float (N, C, H, W) in [-1, 1]."""


class Region:
    """A mask whose weights define a part of each image.

    Args:
        where: Its key, for messages.
        names: Columns that the mask may request.
        size: Height and width of the images.
    """

    def __init__(self, mask: Mask, where: str, names: Sequence[str], size: tuple[int, int]) -> None:
        self._mask, self._where, self._size = mask, where, size
        arguments = requested_arguments(mask.forward)
        known = {*names, "step"}
        missing = [
            name for name, parameter in arguments.items() if parameter.default is parameter.empty and name not in known
        ]
        if missing:
            raise RecipeError(f"{where}: asks for {missing[0]!r}{closest(missing[0], names)}")
        self._arguments = [name for name in arguments if name in known]

    def to(self, device: torch.device) -> Region:
        """Move the mask to a device."""
        self._mask.to(device)
        return self

    def __call__(self, column: Callable[[str], Tensor]) -> Tensor:
        """Return the weights of a batch, (N or 1, 1, H, W) >= 0.

        Args:
            column: Returns a column of the batch by name; images are (N, C, H, W) in [-1, 1].

        Raises:
            RecipeError: if the weights do not fit the images.
        """
        weights: Tensor = self._mask(**{name: 0 if name == "step" else column(name) for name in self._arguments})
        check_weights(weights, self._size, self._where)
        return weights

    def undetected(self, column: Callable[[str], Tensor]) -> Tensor | None:
        """Return (N,), True for each target in which the mask did not find its part; None if it does not search."""
        return self._mask.undetected(column("target")) if isinstance(self._mask, Detects) else None


def region_weights(
    regions: Mapping[str, Region], column: Callable[[str], Tensor]
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The weights of each region in a batch; flags of the targets in which the regions that search found nothing."""
    weights = {name: region(column) for name, region in regions.items()}
    searched = {name: region.undetected(column) for name, region in regions.items()}
    return weights, {name: flags for name, flags in searched.items() if flags is not None}


def build_regions(
    loaded: LoadedRecipe, data: DataInfo, names: Sequence[str], size: tuple[int, int] | None = None
) -> tuple[dict[str, Region], dict[str, str]]:
    """Build the available regions; for the others, as ``region NAME``, return the reason.

    Args:
        names: Columns that a mask may request.
        size: Height and width of the images; default: ``data.size``.

    Raises:
        RecipeError: if a region does not fit, naming file and key.
    """
    regions: dict[str, Region] = {}
    unavailable: dict[str, str] = {}
    for name, spec in loaded.recipe.evaluation.regions.items():
        where = loaded.place(("evaluation", "regions", name))
        try:
            mask = loaded.catalog.build("mask", spec.use, spec.params, data)
        except WeightsError as error:
            unavailable[f"region {name}"] = str(error)
            continue
        except EnfaceError as error:
            raise type(error)(f"{where}: {error}") from error
        assert isinstance(mask, Mask)
        regions[name] = Region(mask.eval(), where, names, size or data.size)
    return regions, unavailable
