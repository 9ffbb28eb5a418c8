"""One pack made by several machines: each reads a part of the images, and whoever comes last joins the parts.

They share the folder of the cache and need not know of each other. A part has files of its own, for machines that
write to one file over a network overwrite each other's pages.
"""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from filelock import FileLock

from enface.catalog import Catalog
from enface.errors import DataError, EnfaceError
from enface.pack import Pack, Packing, Progress, read_pack
from enface.recipe import Recipe
from enface.writing import folder_beside, put

LAST = "part.json"
COPIED = 256
"""Images that are copied at once when parts are joined."""


@dataclass(frozen=True)
class Part:
    """Part ``number`` (from 1) of ``count`` parts of a table, which differ by one image at most."""

    number: int
    count: int

    @classmethod
    def of(cls, text: str) -> Part:
        """Read from text as ``3/16``.

        Raises:
            EnfaceError: when it is not of that form.
        """
        found = re.fullmatch(r"(\d+)/(\d+)", text)
        part = cls(int(found[1]), int(found[2])) if found else None
        if part is None or not 1 <= part.number <= part.count:
            raise EnfaceError(f"--part: {text!r} is not K/N with K from 1 to N, as 3/16")
        return part

    def rows(self, count: int) -> slice:
        """Its rows, of a table of ``count``."""
        return slice((self.number - 1) * count // self.count, self.number * count // self.count)

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"


def pack_part(recipe: Recipe, catalog: Catalog, part: Part, progress: Progress | None = None) -> Pack | list[int]:
    """Read a part of a recipe's images, unless it has been; where no part is missing then, make the pack.

    Args:
        progress: Called with (images done, images in all) of the part.

    Returns:
        The pack, or the numbers of the parts that are missing.

    Raises:
        DataError: as :func:`enface.pack.prepare`; and when there are more parts than images.
    """
    packing = Packing.of(recipe, catalog)
    parts = packing.folder.with_name(f".{packing.folder.name}.parts")
    if not packing.is_made:
        table = packing.table()
        if part.count > len(table):
            raise DataError(f"dataset {packing.order.use} has {len(table)} images, too few for {part.count} parts")
        mine = _folder(parts, part)
        if not (mine / LAST).is_file():
            # Not in the folder of the parts, which is gone when others, with this part read twice, are done first.
            with folder_beside(parts) as work:
                skipped = packing.read(work, table.iloc[part.rows(len(table))], progress or (lambda done, total: None))
                (work / LAST).write_text(json.dumps({"skipped": skipped}), encoding="utf-8")
                mine.parent.mkdir(exist_ok=True)
                put(work, mine, LAST)
        every = [Part(number, part.count) for number in range(1, part.count + 1)]
        with FileLock(parts.with_suffix(".lock")):
            # Whoever had the lock before may have joined them.
            if not packing.is_made:
                missing = [one.number for one in every if not (_folder(parts, one) / LAST).is_file()]
                if missing:
                    return missing
                _join(packing, table, parts, every)
    shutil.rmtree(parts, ignore_errors=True)
    return read_pack(packing.folder)


def _folder(parts: Path, part: Part) -> Path:
    return parts / f"{part.number}-of-{part.count}"


def _join(packing: Packing, table: pd.DataFrame, parts: Path, every: list[Part]) -> None:
    skipped: dict[int, str] = {}
    with folder_beside(packing.folder) as work:
        arrays = packing.new_arrays(work, len(table))
        for part in every:
            folder, rows = _folder(parts, part), part.rows(len(table))
            said = json.loads((folder / LAST).read_text(encoding="utf-8"))["skipped"]
            skipped |= {rows.start + int(place): text for place, text in said.items()}
            for name, whole in arrays.items():
                read = np.load(folder / name, mmap_mode="r", allow_pickle=False)
                for start in range(0, len(read), COPIED):
                    some = read[start : start + COPIED]
                    whole[rows.start + start :][: len(some)] = some
        for whole in arrays.values():
            whole.flush()
        del arrays, whole
        packing.finish(work, table, skipped)
