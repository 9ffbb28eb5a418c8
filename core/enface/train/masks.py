"""Building a recipe's masks and checking the weights they give."""

from __future__ import annotations

import torch
from torch import Tensor

from enface.errors import EnfaceError, RecipeError
from enface.plugin.components import DataInfo, Mask
from enface.plugin.schema import requested_arguments
from enface.recipe.load import LoadedRecipe


def build_mask(loaded: LoadedRecipe, name: str, data: DataInfo) -> Mask:
    """The mask the recipe defines under a name. Raises an error naming file and key when it cannot be made."""
    spec = loaded.recipe.masks[name]
    try:
        mask = loaded.catalog.build("mask", spec.use, spec.params, data)
    except EnfaceError as error:
        raise type(error)(f"{loaded.place(('masks', name))}: {error}") from error
    assert isinstance(mask, Mask)
    return mask


def check_weights(weights: Tensor, size: int | tuple[int, int], where: str) -> None:
    """Refuse what a mask gives when it cannot weigh images of a size.

    Raises:
        RecipeError: beginning with ``where``.
    """
    height, width = (size, size) if isinstance(size, int) else size
    if weights.dim() != 4 or weights.shape[1] != 1 or tuple(weights.shape[-2:]) != (height, width):
        raise RecipeError(
            f"{where}: gives weights of shape {tuple(weights.shape)}, but the images are {height} x {width}: "
            f"(N or 1, 1, {height}, {width}) is needed"
        )
    if not bool(torch.isfinite(weights).all()) or bool((weights < 0).any()):
        raise RecipeError(f"{where}: gives weights that are negative or not finite")


def static_weights(loaded: LoadedRecipe, name: str, mask: Mask, data: DataInfo) -> Tensor:
    """What a mask that depends on the step alone gives at its start, (1, 1, H, W).

    Raises:
        RecipeError: when it asks for columns of a batch, or its weights cannot weigh the images.
    """
    asked = [
        item for item, parameter in requested_arguments(mask.forward).items() if parameter.default is parameter.empty
    ]
    if set(asked) - {"step"}:
        raise RecipeError(
            f"{loaded.place(('masks', name))}: differs from image to image (it asks for {', '.join(asked)}); "
            "one that is the same for all is needed here"
        )
    weights = mask(**dict.fromkeys(asked, 0))
    assert isinstance(weights, Tensor)
    check_weights(weights, data.size, loaded.place(("masks", name)))
    return weights
