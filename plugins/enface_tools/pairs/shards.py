"""Scores of measured images on disk, so that an interrupted measurement can be resumed."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from enface.errors import DataError
from enface.system.atomic import atomic_write
from enface_tools.evaluate.measure import BatchScores

SHARD = 256
"""Images per file: the most that is measured again after an interruption."""
SIDES = ("numbers", "outputs", "targets", "digests", "fallbacks", "undetected")
OUTPUT = "output"


@dataclass(frozen=True)
class ScoreShards:
    """Scores measured so far, in files ``part-NNNNN.npz``.

    Each file holds a digest of the images it was measured from, so that a changed image invalidates only its own file.

    Args:
        stamps: For each output, a text that changes if a file it is measured with changes.
        settings: A text that changes if the same images would be measured differently.
    """

    folder: Path
    stamps: Sequence[str]
    settings: str

    @property
    def rows(self) -> list[range]:
        """The outputs of each file."""
        return [range(start, min(start + SHARD, len(self.stamps))) for start in range(0, len(self.stamps), SHARD)]

    def missing(self) -> list[int]:
        """The files that do not exist, are damaged, or belong to other images or settings."""
        return [number for number in range(len(self.rows)) if not self._valid(number)]

    @property
    def begun(self) -> bool:
        """True if there are any files."""
        return any(self.folder.glob("part-*.npz"))

    def save(self, number: int, scores: Mapping[str, BatchScores]) -> None:
        """Write a file atomically.

        Args:
            scores: Of ``output`` and perhaps ``source``, measured against the same targets.

        Raises:
            DataError: if it cannot be written.
        """
        arrays = {
            f"{image}/{side}/{name}": values
            for image, of_image in scores.items()
            for side in SIDES
            # The targets are the same, so they are written once.
            if side != "targets" or image == OUTPUT
            for name, values in getattr(of_image, side).items()
        }
        path = self._path(number)
        try:
            with atomic_write(path) as temporary, temporary.open("wb") as file:
                np.savez(file, allow_pickle=False, digest=np.array(self._digest(number)), **arrays)
        except OSError as error:
            raise DataError(f"cannot write {path} ({error.strerror or error})") from error

    def load(self, image: str) -> BatchScores:
        """Return all scores of ``output`` or ``source``."""
        whole = BatchScores()
        for number, rows in enumerate(self.rows):
            with np.load(self._path(number), allow_pickle=False) as file:
                for key in file.files:
                    owner, _, rest = key.partition("/")
                    side, _, name = rest.partition("/")
                    if owner == (OUTPUT if side == "targets" else image):
                        _insert(getattr(whole, side), name, file[key], rows, len(self.stamps))
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


def _insert(columns: dict[str, npt.NDArray[Any]], name: str, values: npt.NDArray[Any], rows: range, total: int) -> None:
    # Features of many images are large; memory would not hold them twice, as concatenating needs.
    if name not in columns:
        columns[name] = np.empty((total, *values.shape[1:]), values.dtype)
    columns[name][rows.start : rows.stop] = values


def join_batches(batches: Sequence[BatchScores]) -> BatchScores:
    """Concatenate the scores of batches."""
    whole = BatchScores()
    for side in SIDES:
        for name in getattr(batches[0], side):
            getattr(whole, side)[name] = np.concatenate([getattr(batch, side)[name] for batch in batches])
    return whole


def select_rows(scores: BatchScores, rows: npt.NDArray[np.int64]) -> BatchScores:
    """Keep the scores of some images; without a copy if these are all."""
    if len(rows) == len(scores.digests["target"]):
        return scores
    sides = {side: getattr(scores, side) for side in SIDES}
    return BatchScores(**{side: {name: values[rows] for name, values in of.items()} for side, of in sides.items()})
