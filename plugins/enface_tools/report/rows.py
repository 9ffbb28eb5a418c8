"""Pictures in rows with a heading over each column, such as source, output and target of one image a row.

Grids of an evaluation and of training are shown as parts of one file each, so that every pixel is kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import yaml

from enface_tools.report.files import Picture

ROLES = ("source", "output", "target")
GAP = 2
"""Pixels around and between the images of a grid."""
Size = tuple[int, int]
"""(height, width) in pixels."""


@dataclass(frozen=True)
class Part:
    """A part of a picture file.

    Attributes:
        across, down: Number of times that the part fits into the file, horizontally and vertically.
        x, y: Position as CSS has it: 0 at the left or upper end of the file, 100 at the other end.
        shape: Width over height.
    """

    file: str
    across: float
    down: float
    x: float
    y: float
    shape: float
    alt: str = ""

    @property
    def style(self) -> str:
        """CSS that shows this part as a background."""
        return (
            f"background-image:url('{self.file}');background-size:{100 * self.across:.6g}% {100 * self.down:.6g}%;"
            f"background-position:{self.x:.6g}% {self.y:.6g}%;aspect-ratio:{self.shape:.6g}"
        )


@dataclass(frozen=True)
class PictureRows:
    """Rows of pictures; a missing one is None."""

    headings: list[str]
    rows: list[list[Part | None]]


def part(picture: Picture, left: int, top: int, size: Size, alt: str) -> Part:
    """A rectangle of a picture."""
    height, width = size
    return Part(
        picture.file,
        picture.width / width,
        picture.height / height,
        100 * left / max(picture.width - width, 1),
        100 * top / max(picture.height - height, 1),
        width / height,
        alt,
    )


def cells(width: int, height: int, size: Size) -> list[tuple[int, int]]:
    """(left, top) of every image of a grid, row by row; empty if the grid is not one of images of this size."""
    tall, wide = size[0] + GAP, size[1] + GAP
    if (height - GAP) % tall or (width - GAP) % wide:
        return []
    return [(left, top) for top in range(GAP, height, tall) for left in range(GAP, width, wide)]


def image_size(recipe: str) -> Size | None:
    """Height and width of the images of a resolved recipe; None if it has none."""
    try:
        size = yaml.safe_load(recipe)["data"]["size"]
        height, width = (size, size) if isinstance(size, int) else map(int, size)
    except (yaml.YAMLError, RecursionError, TypeError, KeyError, ValueError):
        return None
    return (height, width) if height > 0 and width > 0 else None


def grid_parts(picture: Picture | None, roles: Sequence[str], size: Size | None) -> list[list[Part]]:
    """The images of a grid that has a row for each role: for each column its parts; empty for another grid.

    Args:
        size: Of an image; None for square ones.
    """
    if picture is None:
        return []
    side = (picture.height - GAP) // len(roles) - GAP
    shape = size or (side, side)
    if side < 1 or picture.height != len(roles) * (shape[0] + GAP) + GAP:
        return []
    places = cells(picture.width, picture.height, shape)
    wide = len(places) // len(roles)
    return [
        [
            part(picture, *place, shape, f"{role} of image {column + 1}")
            for role, place in zip(roles, places[column::wide], strict=True)
        ]
        for column in range(wide)
    ]


def grid_rows(picture: Picture | None, roles: Sequence[str], size: Size | None) -> PictureRows | None:
    """A grid turned so that each image has a row; None for another grid."""
    parts = grid_parts(picture, roles, size)
    return PictureRows(list(roles), [list(row) for row in parts]) if parts else None


def stage_rows(pictures: Mapping[str, Picture | None], size: Size | None) -> PictureRows | None:
    """The same images after every stage, between source and target; None without grids.

    Args:
        pictures: For each stage a grid of sources, outputs and targets.
    """
    grids = {name: grid_parts(picture, ROLES, size) for name, picture in pictures.items()}
    grids = {name: parts for name, parts in grids.items() if parts}
    if not grids:
        return None
    *_, last = grids.values()
    rows: list[list[Part | None]] = []
    for place, (source, _, target) in enumerate(last):
        after = [_after(name, parts[place]) if place < len(parts) else None for name, parts in grids.items()]
        rows.append([source, *after, target])
    return PictureRows(["source", *(f"after {name}" for name in grids), "target"], rows)


def _after(stage: str, parts: Sequence[Part]) -> Part:
    return replace(parts[1], alt=f"{parts[1].alt} after stage {stage}")
