"""Make the pack of a recipe's data in the cache."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from enface.data.pack import FORMAT, INFO_FILE, Fitted, Pack, PackInfo, read_pack
from enface.errors import DataError
from enface.plugin.catalog import Catalog
from enface.plugin.components import Dataset
from enface.recipe.models import Recipe
from enface.system.atomic import publish_folder, staging_folder
from enface.system.cache import cache_folder
from enface.system.messages import Progress
from enface_tools.packs.image_format import ImageFormat
from enface_tools.packs.reading import LOST, DatasetRef, Failures, ReadSpec, fill_arrays, with_format


@dataclass(frozen=True)
class PackBuilder:
    """Makes the pack of a recipe's data.

    Attributes:
        dataset: The dataset to read.
        spec: The same for other processes.
        on_error: Action for an unreadable image, as in the recipe: ``raise``, or ``skip`` that image.
        digest: Digest of everything the pack depends on.
        folder: The pack's place in the cache.
    """

    dataset: Dataset
    spec: ReadSpec
    on_error: str
    digest: str
    folder: Path

    @classmethod
    def of(cls, recipe: Recipe, catalog: Catalog) -> PackBuilder:
        """Return the builder for a recipe. Raise DataError if there is nothing to read."""
        data = recipe.data
        dataset, spec = build_dataset(recipe, catalog, data.use, data.params)
        digest = _digest(spec, dataset, data.on_error)
        folder = cache_folder() / "packs" / f"{data.use}-{'x'.join(map(str, spec.format.size))}-{digest}"
        return cls(dataset, spec, data.on_error, digest, folder)

    @property
    def exists(self) -> bool:
        """True if the pack is in the cache."""
        return (self.folder / INFO_FILE).is_file()

    def table(self) -> pd.DataFrame:
        """Return the table of the dataset, one row per image.

        Raises DataError if it is empty, lacks a column, or has a key twice.
        """
        use, rows = self.spec.use, [dict(row) for row in self.dataset.rows()]
        if not rows:
            raise DataError(f"dataset {use} has no images")
        table = pd.DataFrame(rows)
        for column in ("key", "identity"):
            if column not in table:
                raise DataError(f"dataset {use}: its rows have no column {column!r}")
            table[column] = table[column].astype(str)
        for column in map(str, table.columns):
            if column.startswith(("real_", "fake_")):
                raise DataError(f"dataset {use}: column {column!r} has the name of a discriminator's output; rename it")
        duplicates = table["key"][table["key"].duplicated()]
        if len(duplicates):
            raise DataError(f"dataset {use}: key {duplicates.iloc[0]!r} occurs more than once")
        return table

    def new_arrays(self, work: Path, count: int) -> dict[str, np.memmap[Any, np.dtype[Any]]]:
        """Create the pack's arrays in a folder, filled with 0; return them by file name.

        Returns:
            ``images.npy`` (count, H, W, C) and ``lost.npy`` float32 (count,); if the dataset has regions,
            ``regions.npy`` uint8 (count, H, W).
        """
        form = self.spec.format
        arrays: dict[str, tuple[Any, tuple[int, ...]]] = {
            "images.npy": (f"uint{form.depth}", (count, *form.size, form.planes)),
            LOST: (np.float32, (count,)),
        }
        if self.dataset.region_names:
            arrays["regions.npy"] = (np.uint8, (count, *form.size))
        return {name: np.lib.format.open_memmap(work / name, "w+", *of) for name, of in arrays.items()}

    def read(self, work: Path, table: pd.DataFrame, progress: Progress) -> Failures:
        """Read every image of a table into new arrays in a folder.

        Raises DataError if an image is unreadable and ``on_error`` is ``raise``.
        """
        for array in self.new_arrays(work, len(table)).values():
            array.flush()
        skipped: Failures = {}
        done = 0
        for count, failed in fill_arrays(work, table, self.spec, self.dataset):
            if failed and self.on_error == "raise":
                raise DataError(f"{next(iter(failed.values()))}\n(data.on_error=skip skips unreadable images)")
            skipped.update(failed)
            done += count
            progress(done, len(table))
        return skipped

    def finish(self, work: Path, table: pd.DataFrame, skipped: Failures) -> None:
        """Complete a folder that has the arrays of a whole table, and move it to its place in the cache.

        Raises DataError if no image could be read.
        """
        if skipped:
            if len(skipped) == len(table):
                raise DataError(f"no image could be read; the first: {skipped[min(skipped)]}")
            table = _drop_skipped(work, table, sorted(skipped))
        table.to_csv(work / "table.csv", index=False)
        lost, form = np.load(work / LOST), self.spec.format
        (work / LOST).unlink()
        lost = lost[lost > 0]
        info = PackInfo(
            format=FORMAT,
            dataset=self.spec.use,
            parameters=json.loads(json.dumps(self.spec.params, default=str)),
            size=form.size,
            channels=form.planes,
            depth=form.depth,
            fit=form.fit,
            fitted=Fitted(images=len(lost), mean=lost.mean() if len(lost) else 0, largest=lost.max(initial=0)),
            digest=self.digest,
            images=len(table),
            columns={str(name): str(kind) for name, kind in table.dtypes.items() if kind.kind in "iufb"},
            region_names=list(self.dataset.region_names),
            skipped=[skipped[index] for index in sorted(skipped)],
        )
        (work / INFO_FILE).write_bytes(info.dump())
        publish_folder(work, self.folder, INFO_FILE)


def build_dataset(recipe: Recipe, catalog: Catalog, use: str, params: Mapping[str, Any]) -> tuple[Dataset, ReadSpec]:
    """Return a dataset that reads images for the recipe's pack, and what other processes need to build it.

    Raises what the dataset raises for these parameters.
    """
    data = recipe.data
    info = data.info(data.packed_size)
    arguments = catalog.arguments("dataset", use, params, info)
    component = catalog.get("dataset", use).component
    dataset = with_format(component(**arguments), info)
    reference = DatasetRef.of(component, arguments)
    return dataset, ReadSpec(tuple(recipe.plugins), use, params, ImageFormat.of(data), info, reference)


def make_pack(recipe: Recipe, catalog: Catalog, progress: Progress | None = None) -> Pack:
    """Return the pack of a recipe's dataset; make it if it is not cached.

    Args:
        progress: Called with (images done, images in all) while packing.

    Raises DataError if the dataset is empty, an image is unreadable (and ``on_error`` is ``raise``), or a key occurs
    twice.
    """
    builder = PackBuilder.of(recipe, catalog)
    if not builder.exists:
        table = builder.table()
        with staging_folder(builder.folder) as work:
            skipped = builder.read(work, table, progress or (lambda done, total: None))
            builder.finish(work, table, skipped)
    return read_pack(builder.folder)


def _digest(spec: ReadSpec, dataset: Dataset, on_error: str) -> str:
    # With the module, because two plugin files may each have a dataset of the same name.
    form = asdict(spec.format)
    parts = [FORMAT, type(dataset).__module__, spec.use, spec.params, form, on_error, dataset.fingerprint()]
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:16]


def _drop_skipped(work: Path, table: pd.DataFrame, skipped: list[int]) -> pd.DataFrame:
    kept = np.setdiff1d(np.arange(len(table)), skipped)
    for name in ("images.npy", "regions.npy", LOST):
        if (work / name).is_file():
            full = np.load(work / name, mmap_mode="r", allow_pickle=False)
            small = np.lib.format.open_memmap(work / f"kept-{name}", "w+", full.dtype, (len(kept), *full.shape[1:]))
            for place, index in enumerate(kept):
                small[place] = full[index]
            small.flush()
            del full, small
            os.replace(work / f"kept-{name}", work / name)
    return table.iloc[kept].reset_index(drop=True)
