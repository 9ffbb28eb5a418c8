"""A contact sheet of a pack, to inspect its pairs before training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from enface.data.pack import Pack
from enface.data.pairs import Pairs
from enface.errors import DataError
from enface.recipe.models import PairsModel
from enface_tools.evaluate.grid import Pixels, displayed, grid

COLUMNS = 5
GAP = 4
# Distinct on grey: background, then one colour per region.
PALETTE = np.array(
    [[40, 40, 40], [224, 172, 137], [120, 80, 50], [60, 30, 20], [70, 130, 220], [210, 60, 80], [240, 200, 40]],
    np.uint8,
)


def contact_sheet(pack: Pack, rules: PairsModel, people: int, path: Path) -> None:
    """Write a picture with one row per identity: pairs of source and target, then region maps of the last pair.

    Sources are evenly spread over the table; targets are drawn as in training.

    Raises:
        DataError: if a source has no target, or the picture cannot be written.
    """
    pairs = Pairs(pack.table, np.arange(len(pack.table)), rules)
    identities = pack.table["identity"].to_numpy()[pairs.sources].astype(str)
    rng = np.random.default_rng(0)
    lines: list[list[Pixels]] = []
    for number, name in enumerate(np.unique(identities)[:people]):
        rows = pairs.sources[identities == name]
        # Shifted by a different phase in each row, or a regular table would show every person in the same lights.
        sources = rows[(np.linspace(0, len(rows) - 1, min(COLUMNS, len(rows))).astype(int) + number * 7) % len(rows)]
        targets = pairs.draw(sources, rng)["target"]
        images = [displayed(pack.images[chosen]).transpose(0, 2, 3, 1) for chosen in (sources, targets)]
        tiles = list(np.concatenate(images, axis=2))
        if pack.regions is not None:
            maps = [PALETTE[pack.regions[chosen[-1]] % len(PALETTE)] for chosen in (sources, targets)]
            tiles.append(np.concatenate(maps, axis=1))
        lines.append(tiles)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(grid(lines, gap=GAP)).save(path)
    except (OSError, ValueError) as error:
        raise DataError(f"cannot write {path}: {error}") from error
