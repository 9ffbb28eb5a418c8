"""Facts about a folder of pairs: its layout, people, image sizes and modes, and what to look at before training."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
from PIL import Image

from enface.errors import DataError
from enface.plugin.bases import DataInfo, Dataset
from enface.plugin.catalog import Catalog
from enface.plugin.manager import load_plugins
from enface_plugins.datasets.layouts import Layout
from enface_plugins.datasets.splits import ROLES, role_folders
from enface_plugins.image_files import list_images

SAMPLE = 500
"""Files whose header is read, evenly spread over the folder."""
PLANES = {"1": 1, "L": 1, "I": 1, "F": 1, "I;16": 1, "I;16B": 1, "I;16L": 1, "I;16N": 1, "LA": 1}
"""Planes of Pillow's modes; all others are colour. Transparency is not a plane."""
SIXTEEN = ("I;16", "I;16B", "I;16L", "I;16N", "I")
FEW_PEOPLE = 5
"""People in a split below which an evaluation has no intervals."""


@dataclass(frozen=True)
class Survey:
    """What a folder of pairs holds.

    Attributes:
        table: The rows of the dataset that reads the folder, with ``key``, ``identity`` and its other columns.
        sizes: Number of sampled images by (width, height), of sources and of targets; of both under ``source`` if the
            layout does not tell them apart.
        modes: Number of sampled images by Pillow's mode.
        unreadable: Paths of sampled files that cannot be opened.
        warnings: Sentences about what may spoil a training.
    """

    layout: Layout
    table: pd.DataFrame
    sizes: Mapping[str, Counter[tuple[int, int]]]
    modes: Mapping[str, Counter[str]]
    unreadable: Sequence[str] = ()
    warnings: list[str] = field(default_factory=list)

    @property
    def people(self) -> int:
        """Number of identities."""
        return int(self.table["identity"].nunique())

    @property
    def depth(self) -> int:
        """Bits per sample: 16 if all sampled images have 16."""
        modes = {mode for counts in self.modes.values() for mode in counts}
        return 16 if modes and modes <= set(SIXTEEN) else 8

    @property
    def channels(self) -> dict[str, int]:
        """Planes of sources and targets: 1 if all sampled images are grey, else 3."""
        planes = {role: max(PLANES.get(mode, 3) for mode in counts) for role, counts in self.modes.items() if counts}
        return {role: planes.get(role, planes.get("source", 3)) for role in ROLES}


def survey(layout: Layout) -> Survey:
    """Read the names of all files and the headers of some.

    Raises:
        DataError: if the dataset that reads this layout refuses the folder, as with images without a counterpart.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        table = pd.DataFrame(list(_dataset(layout).rows()))
    sizes: dict[str, Counter[tuple[int, int]]] = {}
    modes: dict[str, Counter[str]] = {}
    unreadable: list[str] = []
    for role, paths in _paths(layout).items():
        sizes[role], modes[role] = Counter(), Counter()
        for path in paths[:: -(-len(paths) // SAMPLE)] if paths else ():
            try:
                with Image.open(path) as image:
                    width, height = image.size
                    modes[role][image.mode] += 1
            except (OSError, ValueError, Image.DecompressionBombError):
                unreadable.append(str(path))
                continue
            sizes[role][(width // 2 if layout.kind == "side_by_side" else width, height)] += 1
    result = Survey(layout, table, sizes, modes, unreadable, [str(warning.message) for warning in caught])
    result.warnings.extend(_warnings(result))
    return result


def _dataset(layout: Layout) -> Dataset:
    data = dict(layout.data)
    dataset = Catalog(load_plugins()).build("dataset", data.pop("use"), data, DataInfo.square(64))
    assert isinstance(dataset, Dataset)
    return dataset


def _paths(layout: Layout) -> dict[str, list[Path]]:
    """The files of sources and targets; all under ``source`` if names or halves tell them apart."""
    if layout.kind != "folders":
        return {"source": [layout.root / name for name in list_images(layout.root)]}
    folders = role_folders(layout.root, layout.source, layout.target).values()
    return {role: [roles[role] / name for roles in folders for name in list_images(roles[role])] for role in ROLES}


def _warnings(found: Survey) -> Iterator[str]:
    layout = found.layout
    if layout.doubt:
        yield layout.doubt
    if found.unreadable:
        yield f"{len(found.unreadable)} files cannot be read as images, such as {found.unreadable[0]}"
    for role, sizes in found.sizes.items():
        shapes = {round(width / height, 2) for width, height in sizes}
        if len(shapes) > 1:
            low, high = min(shapes), max(shapes)
            yield f"{_of(role, layout)} have different shapes, from {low:g} to {high:g} times as wide as high"
    if len(found.sizes) > 1 and found.sizes["source"].keys() != found.sizes["target"].keys():
        first, second = (describe_sizes(found.sizes[role]) for role in ROLES)
        yield f"sources are {first}, targets {second}; both are brought to one size"
    modes = {mode for counts in found.modes.values() for mode in counts}
    for mode, what in (("P", "have a palette"), ("CMYK", "are CMYK"), ("RGBA", "are transparent")):
        if mode in modes:
            yield f"some images {what} (mode {mode}); look at the picture"


def _of(role: str, layout: Layout) -> str:
    return f"{role}s" if layout.kind == "folders" else "images"


def describe_sizes(sizes: Counter[tuple[int, int]]) -> str:
    """Return the usual size, and the range of the others, as text."""
    if not sizes:
        return "of unknown size"
    (width, height), _ = sizes.most_common(1)[0]
    if len(sizes) == 1:
        return f"{width} x {height}"
    sides = [min(size) for size in sizes]
    return f"mostly {width} x {height} ({len(sizes)} sizes, shorter side {min(sides)} to {max(sides)})"


def people(count: int) -> str:
    """Return a number of people as text."""
    return "1 person" if count == 1 else f"{count} people"


def describe_unknown(folder: Path) -> str:
    """Return what a folder holds whose layout is not recognised: images and example names of each folder below."""
    try:
        names = list_images(folder)
    except DataError:
        return ""
    places: dict[str, list[str]] = {}
    for name in names:
        place, _, file = name.rpartition("/")
        places.setdefault(place, []).append(file)
    lines = [f"{folder} holds {len(names)} images:"]
    for place, files in sorted(places.items(), key=lambda item: -len(item[1]))[:8]:
        lines.append(f"  {place + '/' if place else './'}: {len(files)} images, such as {', '.join(files[:3])}")
    if len(places) > 8:
        lines.append(f"  and {len(places) - 8} more folders")
    return "\n".join(lines)


def values(table: pd.DataFrame, column: str) -> list[Any]:
    """Return the values of a column, sorted; empty if there is no such column."""
    return sorted(table[column].unique().tolist()) if column in table else []
