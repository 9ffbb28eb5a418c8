"""Packs: a dataset prepared once on disk, ``images.npy`` (N x H x W x C), ``table.csv``, ``pack.json``."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from enface.data.images import Pixels
from enface.errors import DataError
from enface.recipe.models import Fit

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
