"""A report's pictures: the grids over training, what each stage gave, and the sprites that the gallery shows."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image

from enface_tools.report.files import Beside, Found, Picture, mapping

SAMPLE = re.compile(r"(\d+)-(\w+)\.png")
OUTPUTS = "outputs"
GRIDS = 40
"""At most so many grids over training are shown, evenly spread."""
LARGE_BYTES = 6_000_000
"""At most so much of large pictures is put beside the page."""
FILE = re.compile(r"[\w-]+(\.[\w-]+)*\.webp")
NAMES = {"error": "error map"}


@dataclass(frozen=True)
class Samples:
    """The grids of the fixed test faces.

    Attributes:
        outputs: (step, grid), in order.
        fixed: What stays the same at every step: inputs, targets.
        total: How many grids of outputs the run wrote.
    """

    outputs: list[tuple[int, Picture]]
    fixed: list[Picture]
    total: int


@dataclass(frozen=True)
class Sheet:
    """Tiles of many images, on sprites and, for some of them, at full size.

    Attributes:
        tiles: What stands side by side: ``source``, ``output``, ``target``, ``error``.
        files: The sprites, seen from the page; an empty name where one is missing.
        rows: Images a sprite holds.
        size: Pixels of a tile; ``large_size`` of those at full size.
        images: How many images there are.
        large: Place of an image -> its file at full size.
    """

    tiles: list[str]
    files: list[str]
    rows: int
    size: int
    images: int
    large_size: int = 0
    large: dict[str, str] = field(default_factory=dict)

    def data(self, label: str = "") -> dict[str, Any]:
        """As the page's scripts read it."""
        return {
            "label": label,
            "tiles": self.tiles,
            "files": self.files,
            "rows": self.rows,
            "size": self.size,
            "images": self.images,
            "largeSize": self.large_size,
            "large": self.large,
        }


def sample_grids(found: Found, beside: Beside) -> Samples:
    """The grids that lie in ``samples/``; damaged ones are left out and said."""
    kinds: dict[str, dict[int, Path]] = {}
    for path in sorted((found.directory / "samples").glob("*.png")):
        name = SAMPLE.fullmatch(path.name)
        if name:
            kinds.setdefault(name[2], {})[int(name[1])] = path
    outputs, fixed = kinds.pop(OUTPUTS, {}), []
    shown = []
    for step in _spread(sorted(outputs)):
        alt = f"Grid of the fixed test faces: outputs at step {step:,}."
        grid = beside.picture(found, outputs[step], f"samples/{step:08d}-outputs", alt)
        if grid is not None:
            shown.append((step, grid))
    for kind, grids in sorted(kinds.items()):
        step = max(grids)
        alt = f"Grid of the fixed test faces: {kind}."
        grid = beside.picture(found, grids[step], f"samples/{kind}", alt, kind.capitalize())
        if grid is not None:
            fixed.append(grid)
    return Samples(shown, fixed, len(outputs))


def _spread(steps: Sequence[int]) -> list[int]:
    if len(steps) <= GRIDS:
        return list(steps)
    return [steps[round(index * (len(steps) - 1) / (GRIDS - 1))] for index in range(GRIDS)]


def sheet(found: Found, beside: Beside, folder: str, name: str = "pictures") -> Sheet | None:
    """The sprites of an evaluation; None when there are none.

    Args:
        folder: Of the evaluation, below that which is read; empty for the same.
        name: Of their folder below ``assets``.
    """
    about = found.mapping(f"{folder}pictures.json")
    if not about:
        return None
    tiles = [str(tile) for tile in about.get("tiles", [])] if isinstance(about.get("tiles"), list) else []
    rows, size, images = (_whole(about.get(key)) for key in ("rows", "tile", "images"))
    if not tiles or not rows or not size:
        found.problems.append(f"{folder}pictures.json is damaged; it is not shown.")
        return None
    listed = about.get("files") if isinstance(about.get("files"), list) else []
    files = [_sprite(found, beside, f"{folder}pictures", str(file), name) for file in listed or []]
    large = mapping(about, "large")
    whole, spent = {}, 0
    for place, file in mapping(large, "files").items():
        path = found.directory / f"{folder}pictures" / str(file)
        if str(place).isdecimal() and FILE.fullmatch(str(file)) and path.is_file():
            spent += path.stat().st_size
            if spent <= LARGE_BYTES and (copied := beside.copy(path, f"assets/{name}/{file}")):
                whole[str(place)] = copied
    return Sheet(tiles, files, rows, size, images or rows * len(files), _whole(large.get("size")), whole)


def _sprite(found: Found, beside: Beside, folder: str, file: str, name: str) -> str:
    """A sprite beside the page; empty, and said, when it is missing or damaged."""
    path = found.directory / folder / file
    # The file comes from a file that anyone may have written: only a plain name may follow the folder.
    if FILE.fullmatch(file) and path.is_file():
        try:
            with Image.open(path, formats=["WEBP"]) as image:
                image.verify()
        except Exception:
            found.problems.append(f"{folder}/{file} is not an image that can be read.")
            return ""
        return beside.copy(path, f"assets/{name}/{file}") or ""
    found.problems.append(f"{folder}/{file} is missing.")
    return ""


def tile_name(tile: str) -> str:
    """What a tile shows, for people."""
    return NAMES.get(tile, tile)


def _whole(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0
