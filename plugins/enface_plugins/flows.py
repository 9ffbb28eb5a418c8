"""Flow fields: fields of several images, forward splatting, and means over the visible pixels."""

from __future__ import annotations

from types import MappingProxyType

import torch
from torch import Tensor

from enface import RecipeError

_GEOMETRY = "use a dataset that knows where the source shows a pixel of the target, as synthetic_heads does"
_PARTNER = f"{_GEOMETRY}, and pairs with a partner (pairs.partner)"
HINTS = MappingProxyType(
    {
        "flow": "use a generator that moves pixels, as warp does",
        "masks": "use a generator that blends images, as warp does",
        "source_flow": _GEOMETRY,
        "source_visible": _GEOMETRY,
        "partner_flow": _PARTNER,
        "partner_visible": _PARTNER,
    }
)
"""Advice on requests that the recipe's generator or data does not provide."""


def require_distinct(images: tuple[str, ...], component: str) -> None:
    """Raise RecipeError if ``images`` is empty or repeats one."""
    if not images or len(set(images)) < len(images):
        raise RecipeError(f"{component}: images must name different images, not {list(images)}")


def fields_of(flow: Tensor, images: tuple[str, ...], component: str) -> Tensor:
    """Return the fields into the first K of a generator's images, (N, K, 2, H, W).

    Args:
        flow: (N, L, 2, H, W), one field per image.
        images: K names of images.
        component: The component that requests the fields, for the message.

    Raises:
        RecipeError: if there are fewer fields than images.
    """
    if flow.shape[1] < len(images):
        raise RecipeError(
            f"{component}: images names {', '.join(images)}, but the generator's flow is into {flow.shape[1]} image"
            f"{'s' if flow.shape[1] > 1 else ''} only; set images to the generator's own, in the same order"
        )
    return flow[:, : len(images)]


def mirrored_field(flow: Tensor) -> Tensor:
    """Flip a field (N, 2, H, W) left to right, and with it its direction."""
    flipped = flow.flip(-1)
    return torch.stack([-flipped[:, 0], flipped[:, 1]], dim=1)


def over_visible(values: Tensor, weights: Tensor) -> Tensor:
    """Scale a map so that its mean over an image is the weighted mean of the original.

    Args:
        values: (N, C, H, W).
        weights: (N, C or 1, H, W), >= 0, with constant weights for the gradient.

    Returns:
        (N, C, H, W); 0 for a plane whose weights are all 0.
    """
    share = weights.mean((-2, -1), keepdim=True)
    return values * weights / torch.where(share > 0, share, 1)


def splat(image: Tensor, flow: Tensor) -> tuple[Tensor, Tensor]:
    """Move every pixel of an image along its flow, and spread it bilinearly over the four pixels around its place.

    Args:
        image: (N, C, H, W).
        flow: (N, 2, H, W), right and down, in pixels.

    Returns:
        The sum of what arrives at each pixel, (N, C, H, W), and the sum of its weights, (N, 1, H, W).
    """
    height, width = image.shape[-2:]
    across = torch.arange(width, device=flow.device) + flow[:, 0]
    down = torch.arange(height, device=flow.device)[:, None] + flow[:, 1]
    left, top = across.detach().floor(), down.detach().floor()
    values = torch.cat([image, torch.ones_like(image[:, :1])], dim=1).flatten(2)
    sums = torch.zeros_like(values)
    for step_down in (0, 1):
        for step_right in (0, 1):
            column, row = left + step_right, top + step_down
            weight = (1 - (across - column).abs()) * (1 - (down - row).abs())
            inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
            place = (row.clamp(0, height - 1) * width + column.clamp(0, width - 1)).long().flatten(1)
            arriving = values * torch.where(inside, weight, 0).flatten(1)[:, None]
            sums = sums.scatter_add(2, place[:, None].expand_as(values), arriving)
    sums = sums.unflatten(2, (height, width))
    return sums[:, :-1], sums[:, -1:]
