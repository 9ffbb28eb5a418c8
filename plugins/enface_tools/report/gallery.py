"""The gallery of a report: every image with its labels and numbers, as data for the page's scripts."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from enface_tools.evaluate.direction import Direction
from enface_tools.evaluate.results import AT, ID_COLUMNS, MAX_LABEL_VALUES, column_of
from enface_tools.report.files import rounded
from enface_tools.report.numbers import label_key, labelled
from enface_tools.report.pictures import SpriteSheet, tile_name


def gallery(
    images: pd.DataFrame,
    baselines: Mapping[str, pd.DataFrame],
    directions: Mapping[str, Direction],
    decimals: Mapping[str, int],
    sheet: SpriteSheet | None,
) -> dict[str, Any] | None:
    """Contents of the gallery; None without images.

    Args:
        images: ``images.csv``.
        baselines: The same rows for each baseline; a table of another length is skipped.
        directions: Of each metric; a column ``METRIC@REGION`` has the direction of its metric.
        decimals: Of each metric and ``METRIC@REGION``; three significant digits without.
    """
    if images.empty or "key" not in images:
        return None
    columns = [str(name) for name in images.columns]
    measured = {name: column_of(images, name) for name in directions if column_of(images, name)}
    measured |= {name: name for name in columns if AT in name and name.partition(AT)[0] in directions}
    labels = [name for name in columns if name not in measured.values() and name not in ID_COLUMNS]
    tables = {name: table for name, table in baselines.items() if len(table) == len(images)}
    tiles = (
        []
        if sheet is None
        else [{"sheet": 0, "tile": place, "name": tile_name(tile)} for place, tile in enumerate(sheet.tiles)]
    )
    return {
        "keys": texts(images["key"]),
        "targets": texts(images["target_key"]) if "target_key" in images else [],
        "identities": texts(images["identity"]) if "identity" in images else [],
        "labels": labelled_columns(images, labels),
        "metrics": [
            {
                **with_direction(name, directions[name.partition(AT)[0]]),
                "places": decimals.get(name),
                "values": _numbers(images[column]),
                "others": {
                    labelled(other): _numbers(table[column])
                    for other, table in tables.items()
                    if column in table.columns
                },
            }
            for name, column in sorted(measured.items(), key=lambda item: columns.index(item[1]))
        ],
        "sheets": [] if sheet is None else [sheet.data()],
        "tiles": tiles,
        "rows": [],
        "pairs": pairs(tiles),
    }


def pairs(tiles: list[dict[str, Any]]) -> list[tuple[int, int]]:
    """Tiles that can be compared under a slider: neighbours, without the error map."""
    shown = [place for place, tile in enumerate(tiles) if tile["name"] != tile_name("error")]
    return list(itertools.pairwise(shown))


def with_direction(name: str, direction: Direction) -> dict[str, Any]:
    """A metric's name and direction, as data for the page's scripts."""
    return {
        "name": name,
        "higher": direction.higher,
        "ideal": direction.ideal,
        "arrow": direction.arrow,
        "words": direction.words,
    }


def labelled_columns(images: pd.DataFrame, names: Iterable[str]) -> list[dict[str, Any]]:
    """Columns to filter images by, with their values."""
    return [_label(name, images[name]) for name in names]


def texts(values: pd.Series[Any]) -> list[str]:
    """A column as text; empty for a missing value."""
    return ["" if pd.isna(value) else str(value) for value in values]


def _label(name: str, values: pd.Series[Any]) -> dict[str, Any]:
    shown = texts(values)
    choices = sorted(set(shown), key=label_key)
    return {"name": name, "values": shown, "choices": choices if 2 <= len(choices) <= MAX_LABEL_VALUES else []}


def _numbers(values: pd.Series[Any]) -> list[float | None]:
    return rounded(pd.to_numeric(values, errors="coerce").tolist())
