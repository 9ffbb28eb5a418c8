"""One pack made by several machines: each reads a part of the images, and the last one joins the parts.

They share the cache's folder and need no other connection. Each part has its own files, because machines that write
to one file over a network overwrite each other's pages.
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

from enface.data.pack import Pack, read_pack
from enface.errors import DataError, EnfaceError
from enface.plugin.catalog import Catalog
from enface.recipe.models import Recipe
from enface.system.atomic import publish_folder, staging_folder
from enface.system.messages import Progress
from enface_tools.packs.building import PackBuilder

LAST = "part.json"


@dataclass(frozen=True)
class Part:
    """Part ``number`` (from 1) of ``count`` parts of a table, whose sizes differ by at most one image."""

    number: int
    count: int

    @classmethod
    def of(cls, text: str) -> Part:
        """Parse a text such as ``3/16``.

        Raises:
            EnfaceError: if it has another form.
        """
        match = re.fullmatch(r"(\d+)/(\d+)", text)
        part = cls(int(match[1]), int(match[2])) if match else None
        if part is None or not 1 <= part.number <= part.count:
            raise EnfaceError(f"--part: {text!r} is not K/N with K from 1 to N, as 3/16")
        return part

    def rows(self, count: int) -> slice:
        """Return its rows of a table of ``count``."""
        return slice((self.number - 1) * count // self.count, self.number * count // self.count)

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"


@dataclass(frozen=True)
class PartResult:
    """Outcome of reading a part.

    Attributes:
        missing: Numbers of the parts that are still to be read.
        pack: The pack, if no part is missing.
    """

    missing: list[int]
    pack: Pack | None = None


def pack_part(recipe: Recipe, catalog: Catalog, part: Part, progress: Progress | None = None) -> PartResult:
    """Read a part of a recipe's images if it is not there yet; make the pack if no part is missing then.

    Args:
        progress: Called with (images done, images in all) of the part.

    Raises:
        DataError: as :func:`enface_tools.packs.building.make_pack`; and if there are more parts than images.
    """
    parts = _Parts(PackBuilder.of(recipe, catalog))
    if not parts.builder.exists:
        table = parts.builder.table()
        if part.count > len(table):
            raise DataError(f"dataset {parts.builder.spec.use} has {len(table)} images, too few for {part.count} parts")
        if not parts.has(part, table):
            parts.read(part, table, progress or (lambda done, total: None))
        missing = parts.join(table, part.count)
        if missing:
            return PartResult(missing)
    parts.remove()
    return PartResult([], read_pack(parts.builder.folder))


class _Parts:
    """The parts of one pack, in a folder that exists until they are joined."""

    def __init__(self, builder: PackBuilder) -> None:
        self.builder = builder
        self._folder = builder.folder.with_name(f".{builder.folder.name}.parts")
        # Held while a part is published, or the parts are joined or removed; not while one is read.
        self._lock = FileLock(self._folder.with_suffix(".lock"))

    def has(self, part: Part, table: pd.DataFrame) -> bool:
        """Return True if a part exists and is of this table; the dataset may have more images since."""
        try:
            record = json.loads((self._path(part) / LAST).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return False
        return bool(record.get("rows") == _digest(table, part))

    def read(self, part: Part, table: pd.DataFrame, progress: Progress) -> None:
        """Read a part's images and publish it."""
        path = self._path(part)
        # Not within the parts' folder, which is gone if others read this part, too, and joined them.
        with staging_folder(self._folder) as work:
            skipped = self.builder.read(work, table.iloc[part.rows(len(table))], progress)
            record = {"rows": _digest(table, part), "skipped": skipped}
            (work / LAST).write_text(json.dumps(record), encoding="utf-8")
            with self._lock:
                if self.builder.exists:
                    return
                if not self.has(part, table):
                    shutil.rmtree(path, ignore_errors=True)
                path.parent.mkdir(exist_ok=True)
                publish_folder(work, path, LAST)

    def join(self, table: pd.DataFrame, count: int) -> list[int]:
        """Make the pack if it does not exist and no part is missing; return the numbers of missing parts."""
        parts = [Part(number, count) for number in range(1, count + 1)]
        with self._lock:
            if self.builder.exists:
                return []
            missing = [part.number for part in parts if not self.has(part, table)]
            if not missing:
                self._join(table, parts)
            return missing

    def remove(self) -> None:
        """Remove the parts, which the pack makes useless."""
        # Not possible, and not needed, if the cache is read-only.
        with suppress(OSError):
            if self._folder.is_dir():
                with self._lock:
                    shutil.rmtree(self._folder, ignore_errors=True)

    def _path(self, part: Part) -> Path:
        return self._folder / f"{part.number}-of-{part.count}"

    def _join(self, table: pd.DataFrame, parts: list[Part]) -> None:
        skipped: dict[int, str] = {}
        with staging_folder(self.builder.folder) as work:
            arrays = self.builder.new_arrays(work, len(table))
            for part in parts:
                folder, rows = self._path(part), part.rows(len(table))
                record = json.loads((folder / LAST).read_text(encoding="utf-8"))
                skipped |= {rows.start + int(place): text for place, text in record["skipped"].items()}
                for name, whole in arrays.items():
                    whole[rows] = np.load(folder / name, mmap_mode="r", allow_pickle=False)
            for whole in arrays.values():
                whole.flush()
            del arrays, whole
            self.builder.finish(work, table, skipped)


def _digest(table: pd.DataFrame, part: Part) -> str:
    """Return a digest of a part's rows."""
    return hashlib.sha256(table.iloc[part.rows(len(table))].to_csv(index=False).encode()).hexdigest()[:16]
