"""One pack made by several machines: each reads a part of the images, and whoever comes last joins the parts.

They share the folder of the cache and need not know of each other. A part has files of its own, for machines that
write to one file over a network overwrite each other's pages.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from filelock import FileLock

from enface.data.pack import Pack, Packing, Progress, read_pack
from enface.errors import DataError, EnfaceError
from enface.plugin.catalog import Catalog
from enface.recipe.models import Recipe
from enface.system.atomic import publish_folder, staging_folder

LAST = "part.json"


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


@dataclass(frozen=True)
class Parted:
    """What there is after a part.

    Attributes:
        missing: Numbers of the parts that are still to be read.
        pack: Where none is.
    """

    missing: list[int]
    pack: Pack | None = None


def pack_part(recipe: Recipe, catalog: Catalog, part: Part, progress: Progress | None = None) -> Parted:
    """Read a part of a recipe's images, unless it has been; where no part is missing then, make the pack.

    Args:
        progress: Called with (images done, images in all) of the part.

    Raises:
        DataError: as :func:`enface.data.pack.prepare`; and when there are more parts than images.
    """
    parts = _Parts(Packing.of(recipe, catalog))
    if not parts.packing.is_made:
        table = parts.packing.table()
        if part.count > len(table):
            raise DataError(
                f"dataset {parts.packing.order.use} has {len(table)} images, too few for {part.count} parts"
            )
        if not parts.has(part, table):
            parts.read(part, table, progress or (lambda done, total: None))
        missing = parts.joined(table, part.count)
        if missing:
            return Parted(missing)
    parts.remove()
    return Parted([], read_pack(parts.packing.folder))


class _Parts:
    """The parts of one pack, in a folder that is there until they are joined."""

    def __init__(self, packing: Packing) -> None:
        self.packing = packing
        self._folder = packing.folder.with_name(f".{packing.folder.name}.parts")
        # Held by whoever puts a part there, joins them, or removes them; not while one is read.
        self._lock = FileLock(self._folder.with_suffix(".lock"))

    def has(self, part: Part, table: pd.DataFrame) -> bool:
        """Whether a part is there, and of this table: a dataset may have got more images since."""
        try:
            said = json.loads((self._of(part) / LAST).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return False
        return bool(said.get("rows") == _digest(table, part))

    def read(self, part: Part, table: pd.DataFrame, progress: Progress) -> None:
        """Read a part's images and put it where it belongs."""
        mine = self._of(part)
        # Not within the parts' folder, which is gone when others, with this part read twice, have joined them.
        with staging_folder(self._folder) as work:
            skipped = self.packing.read(work, table.iloc[part.rows(len(table))], progress)
            said = {"rows": _digest(table, part), "skipped": skipped}
            (work / LAST).write_text(json.dumps(said), encoding="utf-8")
            with self._lock:
                if self.packing.is_made:
                    return
                if not self.has(part, table):
                    shutil.rmtree(mine, ignore_errors=True)
                mine.parent.mkdir(exist_ok=True)
                publish_folder(work, mine, LAST)

    def joined(self, table: pd.DataFrame, count: int) -> list[int]:
        """Make the pack, unless another has made it, or parts are missing: their numbers."""
        every = [Part(number, count) for number in range(1, count + 1)]
        with self._lock:
            if self.packing.is_made:
                return []
            missing = [part.number for part in every if not self.has(part, table)]
            if not missing:
                self._join(table, every)
            return missing

    def remove(self) -> None:
        """Remove the parts, which the pack makes useless."""
        # Whoever may only read the cache need not.
        with suppress(OSError):
            if self._folder.is_dir():
                with self._lock:
                    shutil.rmtree(self._folder, ignore_errors=True)

    def _of(self, part: Part) -> Path:
        return self._folder / f"{part.number}-of-{part.count}"

    def _join(self, table: pd.DataFrame, every: list[Part]) -> None:
        skipped: dict[int, str] = {}
        with staging_folder(self.packing.folder) as work:
            arrays = self.packing.new_arrays(work, len(table))
            for part in every:
                folder, rows = self._of(part), part.rows(len(table))
                said = json.loads((folder / LAST).read_text(encoding="utf-8"))["skipped"]
                skipped |= {rows.start + int(place): text for place, text in said.items()}
                for name, whole in arrays.items():
                    whole[rows] = np.load(folder / name, mmap_mode="r", allow_pickle=False)
            for whole in arrays.values():
                whole.flush()
            del arrays, whole
            self.packing.finish(work, table, skipped)


def _digest(table: pd.DataFrame, part: Part) -> str:
    """What tells the rows of a part from others."""
    return hashlib.sha256(table.iloc[part.rows(len(table))].to_csv(index=False).encode()).hexdigest()[:16]
