"""Building a recipe's masks and checking the weights they give."""

from __future__ import annotations

import torch
from torch import Tensor

from enface.errors import EnfaceError, RecipeError
from enface.plugin.components import DataInfo, Mask
from enface.recipe.load import LoadedRecipe


def build_mask(loaded: LoadedRecipe, name: str, data: DataInfo) -> Mask:
    """Build the mask that the recipe defines under a name. An error names file and key."""
    spec = loaded.recipe.masks[name]
    try:
        mask = loaded.catalog.build("mask", spec.use, spec.params, data)
    except EnfaceError as error:
        raise type(error)(f"{loaded.place(('masks', name))}: {error}") from error
    assert isinstance(mask, Mask)
    return mask


def check_weights(weights: Tensor, size: tuple[int, int], where: str) -> None:
    """Refuse weights that do not fit images of a size. Raises RecipeError with a message that begins with ``where``."""
    height, width = size
    if weights.dim() != 4 or weights.shape[1] != 1 or tuple(weights.shape[-2:]) != (height, width):
        raise RecipeError(
            f"{where}: gives weights of shape {tuple(weights.shape)}, but the images are {height} x {width}: "
            f"(N or 1, 1, {height}, {width}) is needed"
        )
    if not bool(torch.isfinite(weights).all()) or bool((weights < 0).any()):
        raise RecipeError(f"{where}: gives weights that are negative or not finite")
