"""Packs: a dataset prepared once on disk, ``images.npy`` (uint8, N x H x W x 3), ``table.csv``, ``pack.json``."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pandas as pd
from torch import Tensor

from enface.data.packing import DatasetRef, ReadSpec, fill
from enface.errors import DataError
from enface.plugin.catalog import Catalog
from enface.plugin.components import DataInfo, Dataset
from enface.recipe.models import Recipe
from enface.system.atomic import publish_folder, staging_folder
from enface.system.cache import cache_folder

Images = TypeVar("Images", npt.NDArray[np.uint8], Tensor)
FORMAT = 2
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Pack:
    """A packed dataset.

    Attributes:
        images: uint8 (N, 3, H, W), memory-mapped; channels last in the file, as networks read them fastest.
        regions: uint8 (N, H, W) of indices into ``region_names``, memory-mapped; None when there are none.
        table: One row an image, in the images' order.
        about: What ``pack.json`` says: source, parameters, digest, skipped images.
        address: Where it was fetched from, or opened, when the recipe names a pack; None when it was made here.
    """

    folder: Path
    images: npt.NDArray[np.uint8]
    regions: npt.NDArray[np.uint8] | None
    table: pd.DataFrame
    about: Mapping[str, Any]
    address: str | None = None

    @property
    def size(self) -> int:
        """Height and width of the images."""
        return int(self.images.shape[-1])

    @cached_property
    def classes(self) -> dict[str, int]:
        """For each column of the table, how many different values it has."""
        return {str(name): int(self.table[name].nunique()) for name in self.table.columns}


def centered(images: Images, size: int) -> Images:
    """The middle ``size`` x ``size`` pixels of images (..., H, W)."""
    top, left = ((side - size) // 2 for side in images.shape[-2:])
    return images[..., top : top + size, left : left + size]


@dataclass(frozen=True)
class Packing:
    """A recipe's data on its way into a pack.

    Attributes:
        dataset: What is read.
        order: The same for other processes.
        on_error: As in the recipe, what an image that cannot be read does: ``raise``, or ``skip`` that image.
        digest: Of all that the pack depends on.
        folder: Where the pack belongs, in the cache.
    """

    dataset: Dataset
    order: ReadSpec
    on_error: str
    digest: str
    folder: Path

    @classmethod
    def of(cls, recipe: Recipe, catalog: Catalog) -> Packing:
        """That of a recipe.

        Raises:
            DataError: when there is nothing to read.
        """
        data = recipe.data
        arguments = catalog.arguments("dataset", data.use, data.params, DataInfo(data.packed_size))
        component = catalog.get("dataset", data.use).component
        dataset = component(**arguments)
        assert isinstance(dataset, Dataset)
        made = DatasetRef.of(component, arguments)
        order = ReadSpec(tuple(recipe.plugins), data.use, data.params, data.packed_size, made)
        digest = _digest(order, dataset, data.on_error)
        folder = cache_folder() / "packs" / f"{data.use}-{data.packed_size}-{digest}"
        return cls(dataset, order, data.on_error, digest, folder)

    @property
    def is_made(self) -> bool:
        """Whether the pack is there."""
        return (self.folder / "pack.json").is_file()

    def table(self) -> pd.DataFrame:
        """One row an image.

        Raises:
            DataError: when it is empty, lacks a column, or a key occurs twice.
        """
        return _table(self.dataset, self.order.use)

    def new_arrays(self, work: Path, count: int) -> dict[str, np.memmap[Any, np.dtype[np.uint8]]]:
        """The pack's arrays by file name, new files in a folder, filled with 0.

        Returns:
            ``images.npy`` uint8 (count, H, W, 3); where the dataset has regions, ``regions.npy`` uint8 (count, H, W).
        """
        size = self.order.size
        shapes: dict[str, tuple[int, ...]] = {"images.npy": (count, size, size, 3)}
        if self.dataset.region_names:
            shapes["regions.npy"] = (count, size, size)
        return {name: np.lib.format.open_memmap(work / name, "w+", np.uint8, of) for name, of in shapes.items()}

    def read(self, work: Path, table: pd.DataFrame, progress: Progress) -> dict[int, str]:
        """Read every image of a table into new arrays in a folder.

        Returns:
            What is wrong with those that cannot be read, by their place in the table.

        Raises:
            DataError: when one cannot be read and ``on_error`` is ``raise``.
        """
        for array in self.new_arrays(work, len(table)).values():
            array.flush()
        skipped: dict[int, str] = {}
        done = 0
        for finished, failed in fill(work, table, self.order, self.dataset):
            if failed and self.on_error == "raise":
                raise DataError(f"{next(iter(failed.values()))}\n(data.on_error=skip leaves unreadable images out)")
            skipped.update(failed)
            done += finished
            progress(done, len(table))
        return skipped

    def finish(self, work: Path, table: pd.DataFrame, skipped: Mapping[int, str]) -> None:
        """Make a pack of a folder with the arrays of a whole table, and put it where it belongs.

        Raises:
            DataError: when no image could be read.
        """
        if skipped:
            if len(skipped) == len(table):
                raise DataError(f"no image could be read; the first: {skipped[min(skipped)]}")
            table = _drop_skipped(work, table, sorted(skipped))
        columns = {str(name): str(table[name].dtype) for name in table.columns if table[name].dtype.kind in "iufb"}
        table.to_csv(work / "table.csv", index=False)
        about = {
            "format": FORMAT,
            "dataset": self.order.use,
            "parameters": json.loads(json.dumps(self.order.params, default=str)),
            "size": self.order.size,
            "digest": self.digest,
            "images": len(table),
            "columns": columns,
            "region_names": list(self.dataset.region_names),
            "skipped": [skipped[index] for index in sorted(skipped)],
        }
        (work / "pack.json").write_text(json.dumps(about, indent=1), encoding="utf-8")
        publish_folder(work, self.folder, "pack.json")


def prepare(recipe: Recipe, catalog: Catalog, progress: Progress | None = None) -> Pack:
    """The recipe's pack, from the cache or made now.

    Args:
        progress: Called with (images done, images in all) while packing.

    Raises:
        DataError: when the dataset is empty, an image cannot be read (and ``on_error`` is ``raise``), or a key
            occurs twice.
    """
    packing = Packing.of(recipe, catalog)
    if not packing.is_made:
        table = packing.table()
        with staging_folder(packing.folder) as work:
            skipped = packing.read(work, table, progress or (lambda done, total: None))
            packing.finish(work, table, skipped)
    return read_pack(packing.folder)


def read_pack(folder: Path, remedy: str = "delete that folder to have it made again") -> Pack:
    """Open a pack.

    Args:
        remedy: What to do about a damaged one.

    Raises:
        DataError: when a file of it is missing or damaged, naming it.
    """
    try:
        about = json.loads((folder / "pack.json").read_text(encoding="utf-8"))
        if about["format"] != FORMAT:
            raise DataError(
                f"pack {folder} is of format {about['format']}, and this version of enface reads {FORMAT}; {remedy}"
            )
        table = pd.read_csv(folder / "table.csv", dtype=str, keep_default_na=False)
        for column, kind in about["columns"].items():
            table[column] = _typed(table[column], kind)
        images = np.load(folder / "images.npy", mmap_mode="r", allow_pickle=False).transpose(0, 3, 1, 2)
        regions = folder / "regions.npy"
        maps = np.load(regions, mmap_mode="r", allow_pickle=False) if regions.is_file() else None
    except (OSError, EOFError, ValueError, KeyError) as error:
        raise DataError(f"pack {folder} is damaged ({error}); {remedy}") from error
    if len(table) != len(images):
        raise DataError(f"pack {folder} is damaged (table and images differ); {remedy}")
    return Pack(folder, images, maps, table, about)


def _typed(texts: pd.Series[str], kind: str) -> npt.NDArray[Any]:
    values = texts.to_numpy(dtype=object)
    # Any text but "" is true to NumPy, and a missing number is written as "".
    return values == "True" if kind == "bool" else np.where(values == "", "nan", values).astype(kind)


def _digest(order: ReadSpec, dataset: Dataset, on_error: str) -> str:
    # The module, for two plugin files may each have a dataset of one name.
    parts = [
        FORMAT,
        type(dataset).__module__,
        order.use,
        order.params,
        order.size,
        on_error,
        dataset.fingerprint(),
    ]
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:16]


def _table(dataset: Dataset, use: str) -> pd.DataFrame:
    rows = [dict(row) for row in dataset.rows()]
    if not rows:
        raise DataError(f"dataset {use} has no images")
    table = pd.DataFrame(rows)
    for column in ("key", "identity"):
        if column not in table:
            raise DataError(f"dataset {use}: its rows have no column {column!r}")
        table[column] = table[column].astype(str)
    for column in map(str, table.columns):
        if column.startswith(("real_", "fake_")):
            raise DataError(f"dataset {use}: column {column!r} has the name of what a discriminator says; rename it")
    twice = table["key"][table["key"].duplicated()]
    if len(twice):
        raise DataError(f"dataset {use}: key {twice.iloc[0]!r} occurs more than once")
    return table


def _drop_skipped(work: Path, table: pd.DataFrame, skipped: list[int]) -> pd.DataFrame:
    kept = np.setdiff1d(np.arange(len(table)), skipped)
    for name in ("images.npy", "regions.npy"):
        if (work / name).is_file():
            full = np.load(work / name, mmap_mode="r", allow_pickle=False)
            small = np.lib.format.open_memmap(work / f"kept-{name}", "w+", np.uint8, (len(kept), *full.shape[1:]))
            for place, index in enumerate(kept):
                small[place] = full[index]
            small.flush()
            del full, small
            os.replace(work / f"kept-{name}", work / name)
    return table.iloc[kept].reset_index(drop=True)
