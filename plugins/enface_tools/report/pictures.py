"""Pictures of a report: sample grids over training, and the sprites of the gallery."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from enface_tools.evaluate.grid import to_pixels
from enface_tools.evaluate.models import PictureIndex
from enface_tools.evaluate.pictures import MAX_ERROR, error_map
from enface_tools.report.files import FolderReader, PageWriter, Picture
from enface_tools.report.rows import ROLES, PictureRows, Size, cells, part

SAMPLE = re.compile(r"(\d+)-(\w+)\.png")
OUTPUTS = "outputs"
MAX_GRIDS = 40
"""Grids over training that a page shows, evenly spread."""
MAX_LARGE_BYTES = 24_000_000
"""Total size of the large pictures copied to a page."""
FILE = re.compile(r"[\w-]+(\.[\w-]+)*\.webp")
NAMES = {"error": "error map"}
SCALE_STOPS = 17
"""Colours of the scale of the error map; a browser interpolates between them."""


@dataclass(frozen=True)
class Samples:
    """The grids of the fixed images.

    Attributes:
        outputs: (step, grid), in order.
        rows: Each image beside its source and target, with the output of the last step.
        total: Number of output grids that the run wrote.
    """

    outputs: list[tuple[int, Picture]]
    rows: PictureRows | None
    total: int


@dataclass(frozen=True)
class SpriteSheet:
    """Tiles of many images on sprites, some of them also at full size.

    Attributes:
        files: For each role, from ``source``, ``output``, ``target`` and ``error``, the sprites, relative to the page;
            an empty name for a missing one.
        rows: Images per sprite.
        size: Of a tile in pixels; ``large_size`` is that of a large picture.
        images: Number of images.
        large: Index of an image -> its large picture.
    """

    files: dict[str, list[str]]
    rows: int
    size: int
    images: int
    large_size: int = 0
    large: dict[str, str] = field(default_factory=dict)

    @property
    def tiles(self) -> list[str]:
        """The roles, in order."""
        return list(self.files)

    @property
    def reduction(self) -> str:
        """A sentence if the tiles are smaller than the images; else empty."""
        if self.large_size <= self.size:
            return ""
        return (
            f"Tiles are reduced from {self.large_size} to {self.size} px, which hides fine patterns such as "
            f"checkerboards; {len(self.large)} of the {self.images} images are enlarged at full size."
        )

    def data(self, label: str = "") -> dict[str, Any]:
        """As data for the page's scripts."""
        return {
            "label": label,
            "files": list(self.files.values()),
            "rows": self.rows,
            "size": self.size,
            "images": self.images,
            "largeSize": self.large_size,
            "large": self.large,
        }


def sample_grids(reader: FolderReader, page: PageWriter, size: Size | None) -> Samples:
    """Copy the grids in ``samples/``; damaged ones are added to the problems.

    Args:
        size: Of an image; None if it is not known.
    """
    kinds: dict[str, dict[int, Path]] = {}
    for path in sorted((reader.directory / "samples").glob("*.png")):
        name = SAMPLE.fullmatch(path.name)
        if name:
            kinds.setdefault(name[2], {})[int(name[1])] = path
    outputs = kinds.get(OUTPUTS, {})
    copies = {
        step: page.picture(reader, outputs[step], f"samples/{step:08d}-outputs", f"Outputs at step {step:,}.")
        for step in _evenly_spread(sorted(outputs))
    }
    shown = [(step, grid) for step, grid in copies.items() if grid is not None]
    grids = {
        role: page.picture(reader, kinds[kind][max(kinds[kind])], f"samples/{kind}", f"{kind.capitalize()}.")
        for role, kind in (("source", "inputs"), ("target", "targets"))
        if kind in kinds
    }
    known = {role: grid for role, grid in (grids | {"output": shown[-1][1] if shown else None}).items() if grid}
    columns = {role: known[role] for role in ROLES if role in known}
    return Samples(shown, _sample_rows(columns, size, page.folder) if columns else None, len(outputs))


def _sample_rows(grids: Mapping[str, Picture], size: Size | None, folder: Path) -> PictureRows:
    """One row per image, or one with the whole grids if their images have another size."""
    first, *others = grids.values()
    places = cells(first.width, first.height, size) if size else []
    alike = all((grid.width, grid.height) == (first.width, first.height) for grid in others)
    if size and places and alike:
        count = _images(folder / first.file, places, size)
        rows = [
            [part(grid, *place, size, f"{role} of image {number + 1}") for role, grid in grids.items()]
            for number, place in enumerate(places[:count])
        ]
    else:
        rows = [[part(grid, 0, 0, (grid.height, grid.width), f"{role} of all images") for role, grid in grids.items()]]
    return PictureRows(list(grids), [list(row) for row in rows])


def _images(path: Path, places: Sequence[tuple[int, int]], size: Size) -> int:
    """Number of images of a grid, whose last row may end with black cells."""
    height, width = size
    with Image.open(path) as image:
        pixels = image.convert("RGB")
    filled = [
        place
        for place, (left, top) in enumerate(places)
        if pixels.crop((left, top, left + width, top + height)).getbbox()
    ]
    return filled[-1] + 1 if filled else 0


def _evenly_spread(steps: Sequence[int]) -> list[int]:
    if len(steps) <= MAX_GRIDS:
        return list(steps)
    return [steps[round(index * (len(steps) - 1) / (MAX_GRIDS - 1))] for index in range(MAX_GRIDS)]


def sprite_sheet(reader: FolderReader, page: PageWriter, folder: str, name: str = "pictures") -> SpriteSheet | None:
    """Copy the sprites of an evaluation; None without any.

    Args:
        folder: Of the evaluation, relative to the reader's, with a slash at its end; empty for the same.
        name: Folder of the copies below ``assets``.
    """
    index = reader.model(f"{folder}pictures.json", PictureIndex)
    if index is None:
        return None
    files = {
        role: [_sprite(reader, page, f"{folder}pictures", file, name) for file in sprites]
        for role, sprites in index.files.items()
    }
    large, size = {}, 0
    for place, file in index.large.files.items():
        path = reader.directory / f"{folder}pictures" / file
        if place.isdecimal() and FILE.fullmatch(file) and path.is_file():
            size += path.stat().st_size
            if size <= MAX_LARGE_BYTES and (copy := page.copy(path, f"assets/{name}/{file}")):
                large[place] = copy
    return SpriteSheet(files, index.rows, index.tile, index.images, index.large.size, large)


def _sprite(reader: FolderReader, page: PageWriter, folder: str, file: str, name: str) -> str:
    """Copy a sprite; empty, and added to the problems, if it is missing or damaged."""
    path = reader.directory / folder / file
    # Anyone may have written the index: only a plain file name may follow the folder.
    if FILE.fullmatch(file) and path.is_file():
        try:
            with Image.open(path, formats=["WEBP"]) as image:
                image.verify()
        except Exception:
            reader.problems.append(f"{folder}/{file} is not an image that can be read.")
            return ""
        return page.copy(path, f"assets/{name}/{file}") or ""
    reader.problems.append(f"{folder}/{file} is missing.")
    return ""


@dataclass(frozen=True)
class ErrorScale:
    """Colours of the error map.

    Attributes:
        gradient: CSS gradient from no error to ``highest``.
        highest: The error of the last colour and above, in the range of images, [0, 1].
    """

    gradient: str
    highest: float


def error_scale() -> ErrorScale:
    """The colours of the error map, as :func:`enface_tools.evaluate.pictures.error_map` gives them."""
    errors = torch.linspace(0, MAX_ERROR, SCALE_STOPS).expand(1, 3, 1, -1)
    pixels = to_pixels(error_map(errors, torch.zeros_like(errors)))[0, 0]
    return ErrorScale(f"linear-gradient(to right, {', '.join(f'rgb({r} {g} {b})' for r, g, b in pixels)})", MAX_ERROR)


def tile_name(tile: str) -> str:
    """A tile's name for display."""
    return NAMES.get(tile, tile)
