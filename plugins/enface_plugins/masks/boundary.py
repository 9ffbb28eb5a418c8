"""What the masks of face boundaries share: bands along edges and lines, and how their weight falls off."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from enface import RecipeError


def band(inside: Tensor, width: int) -> Tensor:
    """The pixels along the edges of sets, over all of them: the union of :func:`bands`, bool (H, W)."""
    return bands(inside, width).any(dim=0)


def bands(inside: Tensor, width: int) -> Tensor:
    """The pixels along the edge of each set: its morphological gradient.

    A set dilated by half the width, less itself eroded by the other half, so that the band straddles the edge;
    an odd width has its one pixel more inside. The structuring elements are disks. The image's own border is no
    edge: where a set runs out of the image, it is taken to go on.

    Args:
        inside: bool (N, H, W), a set for each face.
        width: Of the band in pixels.

    Returns:
        bool (N, H, W).
    """
    # Imported here, for it takes a third of a second, and every command loads this module.
    from kornia.morphology import dilation, erosion

    sets = inside[:, None].float()
    # "Geodesic" ignores what is outside the image: for a disk, the same as padding by replication.
    grown = dilation(sets, _disk(width // 2).to(sets), border_type="geodesic")
    shrunk = erosion(sets, _disk((width + 1) // 2).to(sets), border_type="geodesic")
    return (grown - shrunk > 0.5)[:, 0]


def near_line(points: Tensor, size: int, width: int) -> Tensor:
    """The pixels whose middle is at most half the width away from a line through points.

    Args:
        points: float (K, 2), x and y in pixels; a pixel's middle has whole numbers. The first point repeated at
            the end closes the line.
        size: Height and width of the image.

    Returns:
        bool (size, size).
    """
    at = torch.arange(size, dtype=torch.float64)
    pixels = torch.stack(torch.meshgrid(at, at, indexing="xy"), dim=-1)[:, :, None]
    start, along = points[:-1].double(), points.double().diff(dim=0)
    length = along.square().sum(-1).clamp_min(1e-12)
    # Where on its segment each pixel is nearest, as a share of the way.
    share = (((pixels - start) * along).sum(-1) / length).clamp(0, 1)
    nearest = start + share[..., None] * along
    # A hair more than half, so that rounding does not decide about pixels just there.
    return ((pixels - nearest).norm(dim=-1) <= width / 2 + 1e-6).any(dim=-1)


def soften(marked: Tensor, falloff: float) -> Tensor:
    """1 at marked pixels, falling to 0 with the distance d to the nearest of them, in pixels between middles.

    3 t^2 - 2 t^3 of t = 1 - d / (falloff + 1), and 0 from d = falloff + 1 on. So a falloff of 3 puts three pixels
    between those of weight 1 and those of weight 0, and one of 0 puts none.

    Args:
        marked: bool (H, W), at least one of them true.

    Returns:
        float32 (1, 1, H, W) in [0, 1].
    """
    t = (1 - distances(marked) / (falloff + 1)).clamp(0, 1)
    return (t.square() * (3 - 2 * t)).float()[None, None]


def distances(marked: Tensor) -> Tensor:
    """Each pixel's Euclidean distance to the nearest marked one, float64 (H, W); exact."""
    height, width = marked.shape
    # Down the columns first, then over them: the square of the distance is the sum of both ways' squares.
    down = _squares(height)[:, :, None].masked_fill(~marked[None], torch.inf).amin(dim=1)
    across = _squares(width)
    return torch.stack([(row[None] + across).amin(dim=1) for row in down]).sqrt()


def spread(names: Sequence[str], count: int) -> list[str]:
    """So many of the names, evenly spread from the first to the last; all where there are no more."""
    places = np.linspace(0, len(names) - 1, min(count, len(names))).round().astype(int)
    return [names[place] for place in places]


def require_marks(mask: str, marked: Tensor, advice: str) -> None:
    """Raises RecipeError when no pixel is marked, or none is left unmarked."""
    if not marked.any():
        raise RecipeError(f"{mask}: marks nothing, for {advice}")
    if marked.all():
        raise RecipeError(f"{mask}: marks every pixel; take a smaller 'width'")


def _squares(length: int) -> Tensor:
    at = torch.arange(length, dtype=torch.float64)
    return (at[:, None] - at).square()


def _disk(radius: int) -> Tensor:
    at = torch.arange(-radius, radius + 1, dtype=torch.float32)
    # Half a pixel more than the radius: of radius 1 it is the 3 x 3 square, so that diagonal edges have no gaps.
    return (at[:, None].square() + at.square() < (radius + 0.5) ** 2).float()
