"""A report's gallery: every image with its labels and numbers, as the page's scripts read them."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from enface.plugin.direction import Direction
from enface_tools.evaluate.results import column_of
from enface_tools.report.files import rounded
from enface_tools.report.numbers import labelled
from enface_tools.report.pictures import Sheet, tile_name

NO_LABELS = ("key", "target_key", "identity")
MOST_VALUES = 40
"""A column of more values is no label to choose by."""
AT = "@"


def gallery(
    images: pd.DataFrame,
    baselines: Mapping[str, pd.DataFrame],
    directions: Mapping[str, Direction],
    sheet: Sheet | None,
) -> dict[str, Any] | None:
    """What the gallery shows; None when there are no images.

    Args:
        images: ``images.csv``.
        baselines: The same rows for copying the source, and for the mean target; one of another length is left out.
        directions: Metric -> which of its values are better; a column ``METRIC@REGION`` has its metric's.
    """
    if images.empty or "key" not in images:
        return None
    columns = [str(name) for name in images.columns]
    measured = {name: column_of(images, name) for name in directions if column_of(images, name)}
    measured |= {name: name for name in columns if AT in name and name.partition(AT)[0] in directions}
    labels = [name for name in columns if name not in measured.values() and name not in NO_LABELS]
    beside = {name: table for name, table in baselines.items() if len(table) == len(images)}
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
                "values": _numbers(images[column]),
                "others": {
                    labelled(other): _numbers(table[column])
                    for other, table in beside.items()
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
    """Which two tiles can be laid over each other: all but the error map, neighbours first."""
    shown = [place for place, tile in enumerate(tiles) if tile["name"] != tile_name("error")]
    return list(itertools.pairwise(shown))


def with_direction(name: str, direction: Direction) -> dict[str, Any]:
    """A metric's name and which of its values are better, as the page's scripts read it."""
    return {
        "name": name,
        "higher": direction.higher,
        "ideal": direction.ideal,
        "arrow": direction.arrow,
        "words": direction.words,
    }


def labelled_columns(images: pd.DataFrame, names: Iterable[str]) -> list[dict[str, Any]]:
    """Columns that images can be chosen by, with the values there are."""
    return [_label(name, images[name]) for name in names]


def texts(values: pd.Series[Any]) -> list[str]:
    """A column as text; empty where it has nothing."""
    return ["" if pd.isna(value) else str(value) for value in values]


def _label(name: str, values: pd.Series[Any]) -> dict[str, Any]:
    shown = texts(values)
    found = sorted(set(shown), key=_order)
    return {"name": name, "values": shown, "choices": found if 2 <= len(found) <= MOST_VALUES else []}


def _order(value: str) -> tuple[int, float, str]:
    try:
        return 0, float(value), value
    except ValueError:
        return 1, 0.0, value


def _numbers(values: pd.Series[Any]) -> list[float | None]:
    return rounded(pd.to_numeric(values, errors="coerce").tolist())
