"""The regions that a recipe's ``evaluation.regions`` asks to be measured by themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from enface.data.batches import Batches
from enface.data.pairs import Indices
from enface.errors import EnfaceError, RecipeError, WeightsError
from enface.plugin.components import DataInfo, Mask
from enface.plugin.schema import closest
from enface.recipe.load import LoadedRecipe
from enface.train.build import check_weights, requested_arguments


class Region:
    """A mask that says which part of each image a region is.

    Args:
        where: Its key, for messages.
    """

    def __init__(self, mask: Mask, where: str, names: Sequence[str]) -> None:
        self._mask, self._where = mask, where
        asked = requested_arguments(mask.forward)
        known = {*names, "step"}
        missing = [
            name for name, parameter in asked.items() if parameter.default is parameter.empty and name not in known
        ]
        if missing:
            raise RecipeError(f"{where}: asks for {missing[0]!r}{closest(missing[0], names)}")
        self._asked = [name for name in asked if name in known]

    def to(self, device: torch.device) -> Region:
        """Move it to a device."""
        self._mask.to(device)
        return self

    def __call__(self, columns: Batches, rows: Mapping[str, Indices]) -> Tensor:
        """Its weights on some rows, (N or 1, 1, H, W) >= 0.

        Raises:
            RecipeError: when the mask cannot weigh the images.
        """
        given = {name: 0 if name == "step" else columns.gather(name, rows) for name in self._asked}
        weights: Tensor = self._mask(**given)
        check_weights(weights, columns.size, self._where)
        return weights


def build_regions(
    loaded: LoadedRecipe, data: DataInfo, names: Sequence[str]
) -> tuple[dict[str, Region], dict[str, str]]:
    """The regions that can be had, and for the others, as ``region NAME``, why not.

    Args:
        names: The columns that a mask may ask for.

    Raises:
        RecipeError: naming file and key of what does not fit.
    """
    found: dict[str, Region] = {}
    absent: dict[str, str] = {}
    for name, spec in loaded.recipe.evaluation.regions.items():
        where = loaded.place(("evaluation", "regions", name))
        try:
            mask = loaded.catalog.build("mask", spec.use, spec.params, data)
        except WeightsError as error:
            absent[f"region {name}"] = str(error)
            continue
        except EnfaceError as error:
            raise type(error)(f"{where}: {error}") from error
        assert isinstance(mask, Mask)
        found[name] = Region(mask.eval(), where, names)
    return found, absent
