"""Bands along edges and lines with a soft border, shared by the masks of face boundaries."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from enface import RecipeError


def band(inside: Tensor, width: int) -> Tensor:
    """Mark the pixels along the edge of any set: the union of :func:`bands`, bool (H, W)."""
    return bands(inside, width).any(dim=0)


def bands(inside: Tensor, width: int) -> Tensor:
    """Mark the pixels along the edge of each set: its morphological gradient.

    The set dilated by half the width, minus the set eroded by the other half, so that the band straddles the edge;
    of an odd width the additional pixel is inside. The structuring elements are disks. The image border is not an
    edge: a set that reaches it is assumed to continue beyond.

    Args:
        inside: bool (N, H, W), one set per face.
        width: Width of the band in pixels.

    Returns:
        bool (N, H, W).
    """
    # Imported here, because it takes a third of a second and every command loads this module.
    from kornia.morphology import dilation, erosion

    sets = inside[:, None].float()
    # "Geodesic" ignores pixels outside the image: for a disk, the same as padding by replication.
    grown = dilation(sets, _disk(width // 2).to(sets), border_type="geodesic")
    shrunk = erosion(sets, _disk((width + 1) // 2).to(sets), border_type="geodesic")
    return (grown - shrunk > 0.5)[:, 0]


def near_line(points: Tensor, size: tuple[int, int], width: int) -> Tensor:
    """Mark the pixels whose centre is at most half the width from a line through points.

    Args:
        points: float (K, 2), x and y in pixels, with pixel centres at integers. Repeat the first point at the end to
            close the line.
        size: Height and width of the image.

    Returns:
        bool (H, W).
    """
    down, across = (torch.arange(side, dtype=torch.float64) for side in size)
    pixels = torch.stack(torch.meshgrid(across, down, indexing="xy"), dim=-1)[:, :, None]
    start, along = points[:-1].double(), points.double().diff(dim=0)
    length = along.square().sum(-1).clamp_min(1e-12)
    # Position of the nearest point on each segment, as a fraction of its length.
    fraction = (((pixels - start) * along).sum(-1) / length).clamp(0, 1)
    nearest = start + fraction[..., None] * along
    # Slightly more than half, so that rounding does not decide about pixels at that distance.
    return ((pixels - nearest).norm(dim=-1) <= width / 2 + 1e-6).any(dim=-1)


def soften(marked: Tensor, falloff: float) -> Tensor:
    """Weight 1 at marked pixels, falling to 0 with the distance d in pixels to the nearest of them.

    3 t^2 - 2 t^3 with t = 1 - d / (falloff + 1), and 0 from d = falloff + 1 on. A falloff of 3 puts three pixels
    between those of weight 1 and those of weight 0; a falloff of 0 puts none.

    Args:
        marked: bool (H, W), with at least one true.

    Returns:
        float32 (1, 1, H, W) in [0, 1].
    """
    t = (1 - distances(marked) / (falloff + 1)).clamp(0, 1)
    return (t.square() * (3 - 2 * t)).float()[None, None]


def distances(marked: Tensor) -> Tensor:
    """Exact Euclidean distance of each pixel to the nearest marked one, float64 (H, W)."""
    height, width = marked.shape
    # First within columns, then across them: the squared distance is the sum of both squares.
    down = _squares(height)[:, :, None].masked_fill(~marked[None], torch.inf).amin(dim=1)
    across = _squares(width)
    return torch.stack([(row[None] + across).amin(dim=1) for row in down]).sqrt()


def spread(names: Sequence[str], count: int) -> list[str]:
    """Choose ``count`` names, spread evenly from the first to the last, or all if there are fewer."""
    places = np.linspace(0, len(names) - 1, min(count, len(names))).round().astype(int)
    return [names[place] for place in places]


def require_marks(mask: str, marked: Tensor, reason: str) -> None:
    """Raise RecipeError if no pixel or every pixel is marked."""
    if not marked.any():
        raise RecipeError(f"{mask}: marks no pixel: {reason}")
    if marked.all():
        raise RecipeError(f"{mask}: marks every pixel; take a smaller 'width'")


def _squares(length: int) -> Tensor:
    at = torch.arange(length, dtype=torch.float64)
    return (at[:, None] - at).square()


def _disk(radius: int) -> Tensor:
    at = torch.arange(-radius, radius + 1, dtype=torch.float32)
    # Half a pixel more than the radius: radius 1 is the 3 x 3 square, so that diagonal edges have no gaps.
    return (at[:, None].square() + at.square() < (radius + 0.5) ** 2).float()
