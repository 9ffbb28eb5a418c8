"""Facts about a folder of pairs: its layout, people, image sizes and modes, and warnings."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from enface.errors import DataError
from enface.plugin.bases import DataInfo, Dataset
from enface.plugin.catalog import Catalog
from enface.plugin.manager import load_plugins
from enface_plugins.datasets.layouts import Layout
from enface_plugins.datasets.splits import ROLES, role_folders
from enface_plugins.image_files import list_images
from enface_plugins.image_headers import Header, read_header

SAMPLE = 500
"""Files whose header is read, evenly spread over the folder."""
FEW_PEOPLE = 5
"""People in a split below which an evaluation has no intervals."""


@dataclass(frozen=True)
class Survey:
    """Contents of a folder of pairs.

    Attributes:
        table: The rows of the dataset that reads the folder, with ``key``, ``identity`` and its other columns.
        headers: Headers of a sample of images, of sources and of targets; of both under ``source`` if the layout does
            not tell them apart.
        unreadable: Paths of sampled files that cannot be opened.
        warnings: Sentences about what may spoil a training.
    """

    layout: Layout
    table: pd.DataFrame
    headers: Mapping[str, Sequence[Header]]
    unreadable: Sequence[str] = ()
    warnings: list[str] = field(default_factory=list)

    @property
    def sizes(self) -> dict[str, Counter[tuple[int, int]]]:
        """Number of sampled images by (width, height) and role; of one of two halves."""
        halves = 2 if self.layout.kind == "side_by_side" else 1
        return {
            role: Counter((header.size[0] // halves, header.size[1]) for header in headers)
            for role, headers in self.headers.items()
        }

    @property
    def kinds(self) -> dict[str, list[str]]:
        """Modes that occur, by role."""
        return {role: sorted({header.kind for header in headers}) for role, headers in self.headers.items()}

    @property
    def people(self) -> int:
        """Number of identities."""
        return int(self.table["identity"].nunique())

    @property
    def depth(self) -> int:
        """Bits per sample: 16 if all sampled images have 16."""
        return min((header.depth for headers in self.headers.values() for header in headers), default=8)

    @property
    def channels(self) -> dict[str, int]:
        """Planes of sources and targets: those of most planes in the sample, 1 if all are grey."""
        planes = {role: max((header.planes for header in headers), default=3) for role, headers in self.headers.items()}
        return {role: planes.get(role, planes["source"]) for role in ROLES}


def survey(layout: Layout) -> Survey:
    """Read the names of all files and the headers of some.

    Raises:
        DataError: if the dataset that reads this layout refuses the folder, as with images without a counterpart.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        table = pd.DataFrame(list(_dataset(layout).rows()))
    headers: dict[str, list[Header]] = {}
    unreadable: list[str] = []
    for role, paths in _paths(layout).items():
        headers[role] = []
        for path in paths[:: -(-len(paths) // SAMPLE)]:
            header = read_header(path)
            if header is None:
                unreadable.append(str(path))
            else:
                headers[role].append(header)
    result = Survey(layout, table, headers, unreadable, [str(warning.message) for warning in caught])
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


def _warnings(facts: Survey) -> Iterator[str]:
    layout = facts.layout
    if layout.doubt:
        yield layout.doubt
    if facts.unreadable:
        yield f"unreadable images: {len(facts.unreadable)}, such as {facts.unreadable[0]}"
    every = facts.sizes
    for role, sizes in every.items():
        shapes = {round(width / height, 2) for width, height in sizes}
        if len(shapes) > 1:
            low, high = min(shapes), max(shapes)
            yield f"{_of(role, layout)} have different shapes, from {low:g} to {high:g} times as wide as high"
    if len(every) > 1 and every["source"].keys() != every["target"].keys():
        first, second = (describe_sizes(every[role]) for role in ROLES)
        yield f"sources are {first}, targets {second}; both are brought to one size"
        ratios = [{round(width / height, 2) for width, height in every[role]} for role in ROLES]
        if ratios[0] != ratios[1]:
            yield "sources and targets have different shapes, so crop cuts them differently; stretch cuts nothing"
    kinds = {kind.removeprefix("16-bit ") for items in facts.kinds.values() for kind in items}
    for mode, what in (("P", "have a palette"), ("CMYK", "are CMYK"), ("RGBA", "are transparent")):
        if mode in kinds:
            yield f"some images {what} (mode {mode}); look at the picture"


def _of(role: str, layout: Layout) -> str:
    return f"{role}s" if layout.kind == "folders" else "images"


def describe_sizes(sizes: Counter[tuple[int, int]]) -> str:
    """Return the usual size, and the range of the others, as text."""
    if not sizes:
        return "unknown"
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
