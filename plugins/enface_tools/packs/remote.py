"""The pack a recipe names by its address: fetched once into the cache, checked, or opened where it lies."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
from filelock import FileLock
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from enface.data.pack import FORMAT, Pack, Progress, prepare, read_pack
from enface.errors import DataError
from enface.plugin.catalog import Catalog
from enface.recipe.models import DataModel, Recipe
from enface.system.cache import cache_folder
from enface_tools.packs.remote_files import NothingThereError, Place, UnreachableError

HEADER = "pack.json"
REMEDY = "write it anew, at another address, with 'enface data pack RECIPE --out ADDRESS'"
MIB = 2**20
TRIES = 4
PAUSE = 2.0
"""Seconds before a file that broke off is gone on with; twice as many each time."""
Say = Callable[[str], None]


class PackedFile(BaseModel):
    """What a pack that was written to an address says of each of its other files."""

    bytes: int = Field(ge=0)
    sha256: str


class Header(BaseModel):
    """What ``pack.json`` must say; it may say more. ``files`` is missing where a folder was copied by hand."""

    model_config = ConfigDict(extra="allow", strict=True)
    format: int
    dataset: str
    parameters: dict[str, Any]
    size: int = Field(gt=0)
    digest: str
    images: int = Field(gt=0)
    columns: dict[str, str]
    region_names: list[str]
    skipped: list[str]
    files: dict[str, PackedFile] = Field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """The pack's other files, the smallest first."""
        return ("table.csv", *(["regions.npy"] if self.region_names else []), "images.npy")

    def shape(self, name: str) -> tuple[int, ...] | None:
        """The shape of the array in a file; None where there is none."""
        shapes = {
            "images.npy": (self.images, self.size, self.size, 3),
            "regions.npy": (self.images, self.size, self.size),
        }
        return shapes.get(name)


def pack_of(recipe: Recipe, catalog: Catalog, progress: Progress | None = None, say: Say | None = None) -> Pack:
    """The recipe's pack: the one at ``data.pack``, or where it names none, one made of its dataset.

    Args:
        progress: Called with (images done, images in all) while packing, (MiB done, MiB in all) while fetching.
        say: Told when a copy is used because the address cannot be reached.

    Raises:
        DataError: when there is no pack at the address, it is not whole, or it is not what the recipe says.
    """
    data = recipe.data
    if data.pack is None:
        return prepare(recipe, catalog, progress)
    place = Place(data.pack)
    folder = place.folder
    if folder is None:
        folder = fetched(place, progress or (lambda done, total: None), say or (lambda text: None))
        remedy = "delete that folder to have it fetched again"
    else:
        header = _header(_pack_json(place), data.pack)
        for name in header.names:
            _check_array(folder / name, header, f"{data.pack}/{name}")
        remedy = REMEDY
    pack = read_pack(folder, remedy)
    missing = [column for column in ("key", "identity") if column not in pack.table]
    if missing:
        raise DataError(f"{data.pack} is not a pack: its table has no column {missing[0]!r}")
    _check_fits(pack, data, catalog)
    return replace(pack, address=data.pack)


def _check_fits(pack: Pack, data: DataModel, catalog: Catalog) -> None:
    """Refuse a pack that is not what the recipe says of its data."""
    if pack.size != data.packed_size:
        key = "size" if data.load_size is None else "load_size"
        raise DataError(
            f"data.pack: {data.pack} holds images of {pack.size} px, the recipe asks for {data.packed_size}; "
            f"set data.{key} to {pack.size}" + (", or data.load_size and a smaller size" if key == "size" else "")
        )
    if not data.use:
        return
    if pack.about["dataset"] != data.use:
        raise DataError(f"data.pack: {data.pack} is of dataset {pack.about['dataset']}, and data.use says {data.use}")
    fields, packed = catalog.get("dataset", data.use).params.model_fields, pack.about["parameters"]
    for name, value in data.params.items():
        # Folders are elsewhere on another machine.
        if Path in (fields[name].annotation, *get_args(fields[name].annotation)):
            continue
        default = json.loads(json.dumps(fields[name].get_default(call_default_factory=True), default=str))
        theirs = packed.get(name, default)
        if value != theirs:
            raise DataError(
                f"data.pack: {data.pack} was made with {name} {theirs!r}, and the recipe says {value!r}; "
                f"set data.{name} to {theirs!r}, or choose another pack"
            )


# ------------------------------------------------------------------ fetching


def fetched(place: Place, progress: Progress, say: Say) -> Path:
    """The folder of this system's copy of a pack, fetched now where there is none of what the address holds.

    A copy belongs to an address and to the ``pack.json`` there. It is fetched into a folder beside, which a fetch
    that was cut off leaves to the next one, and renamed when it is whole; of several processes one fetches.

    Args:
        progress: Called with (MiB done, MiB in all).
        say: Told when the address cannot be reached and a copy of before is used.

    Raises:
        DataError: when there is no pack, or it is not whole; naming the address.
    """
    copies = cache_folder() / "packs" / "fetched"
    stem = re.sub(r"[^A-Za-z0-9.-]+", "_", place.address.rstrip("/").rpartition("/")[2]) or "pack"
    stem = f"{stem}-{_digest(place.address.rstrip('/').encode())}"
    earlier = sorted(copies.glob(f"{stem}-*/{HEADER}"), key=lambda path: path.parent.stat().st_mtime)
    try:
        text = _pack_json(place)
    except UnreachableError as error:
        if not earlier:
            raise
        say(f"{error}; the copy fetched before is used: {earlier[-1].parent}")
        return earlier[-1].parent
    except NothingThereError as error:
        if not earlier:
            raise
        raise DataError(f"{error}; a copy fetched before is there: data.pack={earlier[-1].parent}") from error
    header = _header(text, place.address)
    folder = copies / f"{stem}-{_digest(text)}"
    if not (folder / HEADER).is_file():
        copies.mkdir(parents=True, exist_ok=True)
        with FileLock(copies / f".{folder.name}.lock"):
            # The process that had the lock before may have fetched it.
            if not (folder / HEADER).is_file():
                _fetch(place, header, text, folder, progress)
    # The newest copy is the one last used. Whoever may only read the cache need not say so.
    with suppress(OSError):
        os.utime(folder)
    return folder


def _fetch(place: Place, header: Header, text: bytes, folder: Path, progress: Progress) -> None:
    work = folder.with_name(f".{folder.name}.part")
    work.mkdir(exist_ok=True)
    sizes = {name: place.size(name) for name in header.names}
    for name, size in sizes.items():
        if size is not None and name in header.files and size != header.files[name].bytes:
            raise DataError(
                f"{place.address}/{name} is not whole: {size:,} bytes, {HEADER} says {header.files[name].bytes:,}"
            )
    total = sum(size or 0 for size in sizes.values())
    there = sum((work / name).stat().st_size for name in sizes if (work / name).is_file())
    if total - there > shutil.disk_usage(work).free:
        raise DataError(f"{place.address} takes {total / MIB:,.0f} MiB; there is no room for it in {folder.parent}")
    done = 0

    def come(count: int) -> None:
        nonlocal done
        done += count
        progress(round(done / MIB), round(total / MIB))

    for name in header.names:
        before = done
        for failed in range(1, TRIES + 1):
            try:
                digest = place.fetch(name, work / name, come)
                break
            except UnreachableError as error:
                if failed == TRIES:
                    kept = f"{done / MIB:,.1f} of {total / MIB:,.1f} MiB"
                    raise UnreachableError(f"{error}; {kept} have come and are kept: start again to go on") from error
                time.sleep(PAUSE * 2 ** (failed - 1))
                done = before
        where = f"{place.address}/{name}"
        try:
            _check_array(work / name, header, where)
            if name in header.files and digest != header.files[name].sha256:
                raise DataError(f"{where} is damaged: its sha256 is not the one in {HEADER}; {REMEDY}")
        except DataError:
            # Nothing is gained by going on with it.
            (work / name).unlink()
            raise
    (work / HEADER).write_bytes(text)
    os.rename(work, folder)


def _pack_json(place: Place) -> bytes:
    try:
        return place.read(HEADER)
    except NothingThereError as error:
        raise NothingThereError(f"no pack at {place.address}: there is no {HEADER}") from error


def _header(text: bytes, address: str) -> Header:
    try:
        header = Header.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise DataError(f"{address} is not a pack: {HEADER}: {where}: {first['msg']}") from error
    if header.format != FORMAT:
        raise DataError(
            f"{address}: a pack of format {header.format}; this version of enface reads format {FORMAT}"
            + (f"; {REMEDY}" if header.format < FORMAT else "")
        )
    return header


def _check_array(path: Path, header: Header, where: str) -> None:
    """Refuse an array that is cut short, or not of the shape that ``pack.json`` says."""
    shape = header.shape(path.name)
    if shape is None:
        return
    try:
        with path.open("rb") as file:
            version = np.lib.format.read_magic(file)
            read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            found, fortran, dtype = read(file)
            start = file.tell()
    except FileNotFoundError as error:
        raise DataError(f"{where}: there is no such file") from error
    except ValueError as error:
        raise DataError(f"{where}: is no NumPy array ({error})") from error
    if (found, fortran, dtype) != (shape, False, np.dtype(np.uint8)):
        raise DataError(f"{where}: is {dtype} {found}; {HEADER} says uint8 {shape}")
    size, whole = path.stat().st_size, start + int(np.prod(shape, dtype=np.int64))
    if size != whole:
        raise DataError(f"{where} is not whole: {size:,} bytes instead of {whole:,}")


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:12]


# ------------------------------------------------------------------ writing


def write_pack(pack: Pack, address: str, progress: Progress | None = None) -> Mapping[str, Any]:
    """Write a pack to an address: its files, then the ``pack.json`` that makes a pack of them.

    Args:
        progress: Called with (files done, files in all).

    Returns:
        What ``pack.json`` says there, with bytes and sha256 of each other file.

    Raises:
        DataError: when there is another pack, or nothing can be written there.
    """
    place = Place(address)
    about = {key: value for key, value in pack.about.items() if key != "files"}
    header = Header.model_validate(about)
    about["files"] = {}
    for name in header.names:
        with (pack.folder / name).open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            about["files"][name] = {"bytes": file.tell(), "sha256": digest}
    text = json.dumps(about, indent=1).encode()
    try:
        there = place.read(HEADER)
    except NothingThereError:
        there = b""
    if there == text:
        return about
    if there:
        raise DataError(f"{address}: there is another pack already; delete it, or choose another address")
    for done, name in enumerate(header.names):
        if progress is not None:
            progress(done, len(header.names))
        place.put(name, pack.folder / name)
    place.put_text(HEADER, text)
    return about
