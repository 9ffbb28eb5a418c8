"""Numbers of some images at a time on disk, so that a measurement can be interrupted."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from enface.errors import DataError
from enface.system.atomic import replacing
from enface_tools.evaluate.measure import Numbers, Part

SHARD = 256
"""Images in one file: what an interruption can cost."""
SIDES = ("numbers", "outputs", "targets")
OUTPUT = "output"
"""The owner that is always there."""


@dataclass(frozen=True)
class Shards:
    """What is measured so far, in files ``part-NNNNN.npz``.

    Each file knows what it was measured from, so that a changed image costs the measuring of its own file only.

    Args:
        stamps: For each image, text that changes when a file it is measured with does.
        settings: Text that changes when the same images would be measured differently.
    """

    folder: Path
    stamps: Sequence[str]
    settings: str

    @property
    def rows(self) -> list[range]:
        """The images of each file."""
        return [range(start, min(start + SHARD, len(self.stamps))) for start in range(0, len(self.stamps), SHARD)]

    def missing(self) -> list[int]:
        """The files that are not there, damaged, or of other images or settings."""
        return [number for number in range(len(self.rows)) if not self._valid(number)]

    @property
    def begun(self) -> bool:
        """Whether there are files at all."""
        return any(self.folder.glob("part-*.npz"))

    def save(self, number: int, parts: Mapping[str, Part]) -> None:
        """Write a file whole or not at all.

        Args:
            parts: By whose they are: ``output``, ``source``, against the same targets.

        Raises:
            DataError: when it cannot be written.
        """
        arrays = {
            f"{owner}/{side}/{name}": values
            for owner, part in parts.items()
            for side in SIDES
            # All have the same targets, so these are written once.
            if side != "targets" or owner == OUTPUT
            for name, values in getattr(part, side).items()
        }
        path = self._path(number)
        try:
            with replacing(path) as beside, beside.open("wb") as file:
                np.savez(file, allow_pickle=False, digest=np.array(self._digest(number)), **arrays)
        except OSError as error:
            raise DataError(f"cannot write {path} ({error.strerror or error})") from error

    def load(self, owner: str) -> Part:
        """All that was found of one owner's images."""
        whole = Part()
        for number, rows in enumerate(self.rows):
            with np.load(self._path(number), allow_pickle=False) as file:
                for key in file.files:
                    whose, _, rest = key.partition("/")
                    side, _, name = rest.partition("/")
                    if whose == (OUTPUT if side == "targets" else owner):
                        _put(getattr(whole, side), name, file[key], rows, len(self.stamps))
        return whole

    def _valid(self, number: int) -> bool:
        try:
            with np.load(self._path(number), allow_pickle=False) as file:
                return str(file["digest"]) == self._digest(number)
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            return False

    def _digest(self, number: int) -> str:
        text = "\n".join([self.settings, *(self.stamps[row] for row in self.rows[number])])
        return hashlib.sha256(text.encode()).hexdigest()

    def _path(self, number: int) -> Path:
        return self.folder / f"part-{number:05d}.npz"


def _put(columns: dict[str, Numbers], name: str, values: Numbers, rows: range, total: int) -> None:
    # Features of many images are large; parts and whole would not fit into memory beside each other.
    if name not in columns:
        columns[name] = np.empty((total, *values.shape[1:]), values.dtype)
    columns[name][rows.start : rows.stop] = values


def joined(parts: Sequence[Part]) -> Part:
    """Parts of a batch each as one."""
    whole = Part()
    for side in SIDES:
        for name in getattr(parts[0], side):
            getattr(whole, side)[name] = np.concatenate([getattr(part, side)[name] for part in parts])
    return whole
