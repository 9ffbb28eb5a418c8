"""Packs: a dataset prepared once on disk, ``images.npy`` (N x H x W x C), ``table.csv``, ``pack.json``."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from enface.data.images import ImageFormat, Pixels
from enface.data.packing import LOST, DatasetRef, Failures, ReadSpec, fill_arrays, with_format
from enface.errors import DataError
from enface.plugin.catalog import Catalog
from enface.plugin.components import DataInfo, Dataset
from enface.recipe.models import Fit, Recipe
from enface.system.atomic import publish_folder, staging_folder
from enface.system.cache import cache_folder
from enface.system.messages import Progress

FORMAT = 3
INFO_FILE = "pack.json"
"""Describes a pack; written last, so that a folder that has it is a complete pack."""


class PackedFile(BaseModel):
    """Size and digest of a pack's file, known once the pack was written to an address."""

    bytes: int = Field(ge=0)
    sha256: str


class Fitted(BaseModel):
    """Number of images whose shape was changed, and the mean and largest share of these that was."""

    images: int = Field(ge=0)
    mean: float
    largest: float


class PackInfo(BaseModel):
    """The contents of ``pack.json``.

    Attributes:
        dataset: Name of the dataset that was packed, with its ``parameters``.
        size: Height and width of the images.
        channels: Their number of planes.
        depth: Bits per sample.
        fit: Way to fit images of other shapes, which ``fitted`` counts.
        digest: Digest of everything the pack depends on.
        images: Number of images.
        columns: Types of the table's numeric columns.
        skipped: Messages of the images that could not be read.
        files: The pack's other files; empty for a pack in the cache or a folder that was copied by hand.
    """

    model_config = ConfigDict(extra="allow", frozen=True, strict=True)
    format: int
    dataset: str
    parameters: dict[str, Any]
    size: tuple[int, int]
    channels: int = Field(gt=0)
    depth: int
    fit: Fit
    fitted: Fitted
    digest: str
    images: int = Field(gt=0)
    columns: dict[str, str]
    region_names: list[str]
    skipped: list[str]
    files: dict[str, PackedFile] = Field(default_factory=dict)

    @classmethod
    def parse(cls, text: bytes) -> PackInfo:
        """Validate the text of a ``pack.json``.

        Raises ValueError if it does not describe a pack; the text says where.
        """
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"])) or "the file"
            raise ValueError(f"{INFO_FILE}: {where}: {first['msg']}") from error

    def dump(self) -> bytes:
        """Return the text of ``pack.json``."""
        return json.dumps(self.model_dump(exclude=None if self.files else {"files"}), indent=1).encode()

    def check_format(self, origin: str, remedy: str) -> None:
        """Raise DataError if this version of enface cannot read the pack."""
        if self.format != FORMAT:
            remedy = remedy if self.format < FORMAT else "update enface"
            raise DataError(
                f"{origin} is a pack of format {self.format}; this version of enface reads format {FORMAT}; {remedy}"
            )

    @property
    def fit_report(self) -> str:
        """A sentence on the images that were fitted; empty if all had the wanted shape."""
        fitted, done = self.fitted, {"crop": "cropped", "pad": "padded", "stretch": "stretched"}[self.fit]
        share = f"{fitted.mean:.1%} on average, {fitted.largest:.1%} at most"
        return f"{fitted.images} of {self.images} images were {done}, by {share}" if fitted.images else ""

    @property
    def file_names(self) -> tuple[str, ...]:
        """The pack's other files, the smallest first."""
        return ("table.csv", *(["regions.npy"] if self.region_names else []), "images.npy")

    def check_array(self, path: Path) -> None:
        """Raise ValueError if an array file of the pack is missing, truncated or of another shape."""
        name = path.name
        is_image = name == "images.npy"
        shape = (self.images, *self.size, *([self.channels] if is_image else []))
        wanted = np.dtype(f"uint{self.depth if is_image else 8}")
        try:
            with path.open("rb") as file:
                version = np.lib.format.read_magic(file)
                read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
                actual, fortran, dtype = read(file)
                start = file.tell()
        except FileNotFoundError as error:
            raise ValueError(f"{name}: there is no such file") from error
        except ValueError as error:
            raise ValueError(f"{name}: is no NumPy array ({error})") from error
        if (actual, fortran, dtype) != (shape, False, wanted):
            raise ValueError(f"{name}: is {dtype} {actual}; {INFO_FILE} says {wanted} {shape}")
        size, expected = path.stat().st_size, start + int(np.prod(shape, dtype=np.int64)) * wanted.itemsize
        if size != expected:
            raise ValueError(f"{name} is not whole: {size:,} bytes instead of {expected:,}")


@dataclass(frozen=True)
class Pack:
    """A packed dataset.

    Attributes:
        images: uint8 or uint16 (N, C, H, W), memory-mapped; channels last in the file, which networks read fastest.
        regions: uint8 (N, H, W) of indices into ``info.region_names``, memory-mapped; None without regions.
        table: One row per image, in the images' order.
        address: The recipe's ``data.pack``; None for a pack that was made here.
    """

    folder: Path
    images: Pixels
    regions: npt.NDArray[np.uint8] | None
    table: pd.DataFrame
    info: PackInfo
    address: str | None = None

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the images."""
        return self.info.size

    @cached_property
    def classes(self) -> dict[str, int]:
        """Number of distinct values in each column of the table."""
        return {str(name): int(self.table[name].nunique()) for name in self.table.columns}


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
        info = DataInfo(data.packed_size, channels=data.channels.model_dump(), depth=data.depth)
        arguments = catalog.arguments("dataset", data.use, data.params, info)
        component = catalog.get("dataset", data.use).component
        dataset = with_format(component(**arguments), info)
        reference = DatasetRef.of(component, arguments)
        spec = ReadSpec(tuple(recipe.plugins), data.use, data.params, ImageFormat.of(data), info, reference)
        digest = _digest(spec, dataset, data.on_error)
        folder = cache_folder() / "packs" / f"{data.use}-{'x'.join(map(str, info.size))}-{digest}"
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


def read_pack(folder: Path, remedy: str = "delete that folder to have it made again") -> Pack:
    """Open a pack in a folder.

    Args:
        remedy: Advice for the user if it is damaged.

    Raises DataError if a file is missing or damaged, naming it.
    """
    if not (folder / INFO_FILE).is_file():
        raise DataError(f"no pack at {folder}: there is no {INFO_FILE}")
    with _damage_reported(folder, remedy):
        info = PackInfo.parse((folder / INFO_FILE).read_bytes())
    info.check_format(str(folder), remedy)
    with _damage_reported(folder, remedy):
        arrays: dict[str, npt.NDArray[Any]] = {}
        for name in info.file_names[1:]:
            info.check_array(folder / name)
            arrays[name] = np.load(folder / name, mmap_mode="r", allow_pickle=False)
        table = pd.read_csv(folder / "table.csv", dtype=str, keep_default_na=False)
        for column, kind in info.columns.items():
            table[column] = _typed(table[column], kind)
        if len(table) != info.images:
            raise ValueError("table and images differ")
    return Pack(folder, arrays["images.npy"].transpose(0, 3, 1, 2), arrays.get("regions.npy"), table, info)


@contextmanager
def _damage_reported(folder: Path, remedy: str) -> Iterator[None]:
    try:
        yield
    except (OSError, EOFError, ValueError, KeyError) as error:
        raise DataError(f"pack {folder} is damaged ({error}); {remedy}") from error


def _typed(texts: pd.Series[str], kind: str) -> npt.NDArray[Any]:
    values = texts.to_numpy(dtype=object)
    # NumPy takes any text but "" as true, and a missing number is written as "".
    return values == "True" if kind == "bool" else np.where(values == "", "nan", values).astype(kind)


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
