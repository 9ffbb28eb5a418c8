"""Correspondences between the views of a pack: rendered once by its dataset, and kept in the cache."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from filelock import FileLock

from enface.data.images import Size
from enface.data.pack import Pack
from enface.data.pairs import Indices, satisfies
from enface.errors import DataError
from enface.plugin.bases import Dataset
from enface.recipe.models import PairsModel
from enface.system.atomic import publish_folder, staging_folder
from enface.system.cache import cache_folder
from enface.system.messages import Reporter
from enface_tools.packs.image_format import ImageFormat
from enface_tools.packs.reading import ReadSpec, run_jobs

# Increase with any change to the arrays.
REVISION = 1
FLOW, VISIBLE = "flow.npy", "visible.npy"
CHUNK = 300
"""Pairs that a process is given together, which take it longer than to start."""
SAME = 4.0
"""Mean difference, of 255 levels, up to which an image is the pack's; other machines round some pixels otherwise."""
Pair = tuple[dict[str, Any], dict[str, Any]]
"""Rows of a source and a target."""


@dataclass(frozen=True)
class ViewPairs:
    """The pairs of views that a batch may have. Rows that share a view have the same correspondences.

    Attributes:
        view: Number of each row's view, (rows,).
        first: First row of each view, (V,).
        codes: Sorted numbers ``source view * V + target view`` of P pairs.
    """

    view: Indices
    first: Indices
    codes: Indices

    @classmethod
    def of(cls, table: pd.DataFrame, columns: tuple[str, ...] | None, pairs: PairsModel, *, partner: bool) -> ViewPairs:
        """Return every pair of a source, or partner, and a target of the same identity.

        Args:
            columns: Columns that determine a row's view; None if each row is a view of its own.
            partner: True if batches have partners, which may be any row.
        """
        rows = view = np.arange(len(table), dtype=np.int64)
        if columns is not None:
            view = np.asarray(table.groupby(list(columns), sort=False).ngroup(), np.int64)
        first = np.unique(view, return_index=True)[1].astype(np.int64)
        sources = rows if partner else rows[satisfies(table, rows, pairs.source.where)]
        sides = {"source": sources, "target": rows[satisfies(table, rows, pairs.target.where)]}
        views = {
            name: pd.DataFrame({name: view[side], "who": table["identity"].iloc[side].to_numpy()})
            for name, side in sides.items()
        }
        met = views["target"].drop_duplicates().merge(views["source"].drop_duplicates(), on="who")
        return cls(view, first, np.unique(met["source"].to_numpy() * len(first) + met["target"].to_numpy()))

    def index(self, sources: Indices, targets: Indices) -> Indices:
        """Return the number of the pair of each two rows; -1 if they have none."""
        wanted = self.view[sources] * len(self.first) + self.view[targets]
        place = np.minimum(np.searchsorted(self.codes, wanted), len(self.codes) - 1)
        return np.where(self.codes[place] == wanted, place, -1)

    def rows(self) -> tuple[Indices, Indices]:
        """Return a row of each pair's source, and one of its target."""
        source, target = np.divmod(self.codes, len(self.first))
        return self.first[source], self.first[target]


@dataclass(frozen=True)
class Geometry:
    """The correspondences of a pack's views.

    Attributes:
        dataset: The dataset that the pack was made from.
        spec: The same for other processes.
    """

    pack: Pack
    pairs: ViewPairs
    dataset: Dataset
    spec: ReadSpec
    reporter: Reporter

    def arrays(self) -> tuple[npt.NDArray[np.float16], npt.NDArray[np.uint8]]:
        """Return flow (P, 2, H, W) and visibility (P, H, W) of each pair of views; render them if they are not cached.

        Memory-mapped, in pixels of the pack.

        Raises DataError if the dataset cannot render them, or is another one than the pack was made from.
        """
        folder = self._folder
        # One process renders; others on this machine wait for it.
        if not (folder / FLOW).is_file():
            folder.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(folder.with_suffix(".lock")):
                if not (folder / FLOW).is_file():
                    self._render(folder)
        flow, visible = (np.load(folder / name, mmap_mode="r", allow_pickle=False) for name in (FLOW, VISIBLE))
        return flow.transpose(0, 3, 1, 2), visible

    @property
    def _folder(self) -> Path:
        described = repr([REVISION, self.spec.format, len(self.pack.table)]).encode()
        parts = [described, self.pairs.view.tobytes(), self.pairs.codes.tobytes()]
        digest = hashlib.sha256(b"".join(parts)).hexdigest()[:16]
        return cache_folder() / "packs" / "flow" / f"{self.pack.info.digest}-{digest}"

    def _render(self, folder: Path) -> None:
        if self.pack.address is not None:
            self._check_same()
        count = len(self.pairs.codes)
        title = f"computing the flow between views of {self.spec.use}"
        with staging_folder(folder) as work, self.reporter.progress(title) as progress:
            for name, array in _shapes(count, self.spec.format.size).items():
                np.lib.format.open_memmap(work / name, "w+", *array).flush()
            done = 0
            jobs = len(range(0, count, CHUNK))
            for number in run_jobs(self._jobs(), jobs, self.spec, self.dataset, partial(FlowWriter, work)):
                done += number
                progress(done, count)
            publish_folder(work, folder, FLOW)

    def _jobs(self) -> Iterator[tuple[int, list[Pair]]]:
        """Yield chunks of pairs; views of one person, and sources of one target, are neighbours."""
        sources, targets = self.pairs.rows()
        order = np.lexsort([sources, targets])
        records = self.pack.table.to_dict("records")
        for start in range(0, len(order), CHUNK):
            chunk = order[start : start + CHUNK]
            yield chunk.tolist(), [(records[sources[place]], records[targets[place]]) for place in chunk]

    def _check_same(self) -> None:
        """Raise DataError if the dataset renders another image than a pack that was made elsewhere has."""
        row: dict[str, Any] = {str(name): value for name, value in self.pack.table.iloc[0].items()}
        image = self.spec.format.image(self.dataset.image(row), row["key"]).transpose(2, 0, 1).astype(float)
        levels = 2**self.spec.format.depth - 1
        if np.abs(image - self.pack.images[0]).mean() * 255 / levels > SAME:
            raise DataError(
                f"{self.pack.address}: dataset {self.spec.use} renders another image {row['key']} here than the pack "
                "has, so its flow would be another, too; install the versions that the pack was made with, or make "
                "the pack here (without data.pack)"
            )


def _shapes(count: int, size: Size) -> dict[str, tuple[Any, tuple[int, ...]]]:
    # Channels last, as images are, so that a crop copies whole lines.
    return {VISIBLE: (np.uint8, (count, *size)), FLOW: (np.float16, (count, *size, 2))}


class FlowWriter:
    """Writes correspondences of a dataset into the arrays of a folder."""

    def __init__(self, folder: Path, dataset: Dataset, form: ImageFormat) -> None:
        self._dataset, self._format = dataset, form
        self._flow, self._visible = (np.lib.format.open_memmap(folder / name, "r+") for name in (FLOW, VISIBLE))

    def __call__(self, places: list[int], pairs: list[Pair]) -> int:
        """Write pairs at their places; a pair without a correspondence stays 0. Return their number."""
        for place, (source, target) in zip(places, pairs, strict=True):
            known = self._dataset.correspondence(source, target)
            if known is not None:
                flow, visible = known
                self._flow[place] = self._format.flow(flow).transpose(1, 2, 0)
                self._visible[place] = self._format.regions(visible.astype(np.uint8))
        return len(pairs)
