"""Facts about a recipe's data, found without reading an image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path

from enface.errors import DataError, RecipeError
from enface.plugin.components import Dataset
from enface.recipe.load import LoadedRecipe
from enface_tools.check.components import missing_files


@dataclass(frozen=True)
class DataFacts:
    """Images of a recipe's data.

    Attributes:
        images: Number of images.
        pack_bytes: Size of the images in the pack, without its table.
        classes: Number of distinct values of each column.
    """

    images: int
    pack_bytes: int
    classes: Mapping[str, int]


def data_facts(loaded: LoadedRecipe) -> DataFacts | None:
    """List the images of a recipe's dataset, or read those of its local pack; None for a pack at an address.

    Raises:
        RecipeError: if files or folders of components are missing, or there is nothing to read; names file, line and
            key.
    """
    problems = list(missing_files(loaded))
    if problems:
        raise loaded.source.error(problems)
    data = loaded.recipe.data
    if data.pack is not None:
        return None if data.local_pack is None else _facts_of_pack(data.local_pack)
    try:
        return _listed(loaded)
    except DataError as error:
        key = ("data", "root") if "root" in data.params else ("data",)
        raise RecipeError(f"{loaded.place(key)}: {error}") from error


def _facts_of_pack(folder: Path) -> DataFacts:
    from enface.data.open_pack import REMEDY
    from enface.data.pack import read_pack

    pack = read_pack(folder, REMEDY)
    size = pack.images.nbytes + (0 if pack.regions is None else pack.regions.nbytes)
    return DataFacts(len(pack.table), size, pack.classes)


def _listed(loaded: LoadedRecipe) -> DataFacts:
    data = loaded.recipe.data
    info = data.info(data.packed_size)
    dataset = loaded.catalog.build("dataset", data.use, data.params, info)
    assert isinstance(dataset, Dataset)
    values: dict[str, set[object]] = {}
    images = 0
    for row in dataset.listing():
        images += 1
        for column, value in row.items():
            values.setdefault(column, set()).add(value)
    if not images:
        raise DataError(f"{data.use} has no image")
    planes = max(info.channels.values()) * info.depth // 8 + bool(dataset.region_names)
    classes = {column: len(distinct) for column, distinct in values.items()}
    return DataFacts(images, images * planes * prod(info.size), classes)
