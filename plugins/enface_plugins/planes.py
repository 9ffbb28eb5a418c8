"""Planes and shapes of images that components accept, and their names in messages."""

from __future__ import annotations

from torch import Tensor

from enface import DataInfo, RecipeError, px


def require_rgb(component: str, data: DataInfo, *roles: str) -> None:
    """Check that a component of RGB images can take the data's: they have 3 planes, or 1, which :func:`as_rgb` repeats.

    Args:
        component: Its name in recipes.
        roles: The images it sees, ``source`` or ``target`` (default: ``target``).

    Raises:
        RecipeError: when a role has another number of planes; names the component and the number.
    """
    for role in roles or ("target",):
        planes = data.channels[role]
        if planes not in (1, 3):
            raise RecipeError(
                f"{component} is defined for RGB images, and for grey ones, whose plane it repeats; "
                f"{role} images have {planes} planes"
            )


def require_side(component: str, data: DataInfo, smallest: int) -> None:
    """Raise RecipeError, with the size, if height or width is smaller than a component needs.

    Args:
        component: Its name in recipes, and parameters that the need depends on.
        smallest: In pixels.
    """
    if data.shorter_side < smallest:
        raise RecipeError(f"{component} needs images of at least {smallest} px; these have {px(data.size)}")


def as_rgb(image: Tensor) -> Tensor:
    """Repeat the plane of grey images, (N, 1, H, W) -> (N, 3, H, W); images of three planes stay as they are."""
    return image.expand(-1, 3, -1, -1) if image.shape[1] == 1 else image


def shown(image: Tensor) -> Tensor:
    """Return what a picture shows of images (N, C, H, W): the first three planes, or the first one alone."""
    return image[:, : 3 if image.shape[1] > 2 else 1]


def centred_square(image: Tensor) -> Tensor:
    """Crop images (N, C, H, W) to the largest centred square, as networks of square faces need."""
    side = min(image.shape[-2:])
    top, left = ((length - side) // 2 for length in image.shape[-2:])
    return image[..., top : top + side, left : left + side]


def nearest_sizes(size: tuple[int, int], multiple: int, smallest: int) -> str:
    """Return the multiples on either side of a size, as text for a message; no side below ``smallest``."""
    candidates = []
    for round_up in (0, multiple - 1):
        height, width = (max((side + round_up) // multiple * multiple, smallest) for side in size)
        candidates.append(recipe_size((height, width)))
    return " or ".join(dict.fromkeys(candidates))


def recipe_size(size: tuple[int, int]) -> str:
    """Height and width as a recipe has them: ``96``, or ``[64, 96]``."""
    height, width = size
    return str(height) if height == width else f"[{height}, {width}]"
