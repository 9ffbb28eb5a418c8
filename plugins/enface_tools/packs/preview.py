"""A contact sheet of a pack, to inspect data before training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from enface.data.pack import Pack
from enface.errors import DataError
from enface_tools.evaluate.grid import Pixels, displayed, grid

COLUMNS = 10
# Distinct on grey: background, then one colour per region.
PALETTE = np.array(
    [[40, 40, 40], [224, 172, 137], [120, 80, 50], [60, 30, 20], [70, 130, 220], [210, 60, 80], [240, 200, 40]],
    np.uint8,
)


def contact_sheet(pack: Pack, people: int, path: Path) -> None:
    """Write a picture with one row per identity: images evenly spread over the table, then a region map.

    Raises:
        DataError: if the picture cannot be written.
    """
    identities = pack.table["identity"].to_numpy()
    names = np.unique(identities.astype(str))[:people]
    lines: list[list[Pixels]] = []
    for number, name in enumerate(names):
        rows = np.flatnonzero(identities == name)
        # Shifted by a different phase in each row, or a regular table would show every person in the same lights.
        chosen = rows[(np.linspace(0, len(rows) - 1, COLUMNS).astype(int) + number * 7) % len(rows)]
        tiles = [displayed(pack.images[index]).transpose(1, 2, 0) for index in chosen]
        if pack.regions is not None:
            tiles.append(PALETTE[pack.regions[chosen[COLUMNS // 2]] % len(PALETTE)])
        lines.append(tiles)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(grid(lines)).save(path)
    except (OSError, ValueError) as error:
        raise DataError(f"cannot write {path}: {error}") from error
