"""The gallery of a comparison: source, each group's output and target of an image side by side."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from enface_tools.report.files import rounded
from enface_tools.report.gallery import labelled_columns, texts
from enface_tools.report.pictures import SpriteSheet

NAMES = ["key", "target_key"]
PARTS = ("control", "group", "difference", "gain")
ROWS = ("control_row", "group_row", "seeds")


def compared_gallery(
    groups: Sequence[str],
    tables: Sequence[tuple[int, pd.DataFrame]],
    tests: Sequence[str],
    decimals: Mapping[tuple[int, str], int],
    sheets: Sequence[SpriteSheet | None],
) -> dict[str, Any] | None:
    """Return the data of the gallery; None if no image is shared.

    Args:
        groups: Names of the groups, the control first.
        tables: (group, ``images-N.csv``).
        tests: Names of the quantities; columns are called ``TEST.gain``.
        decimals: Of a group's difference in a quantity.
        sheets: Pictures of each group.
    """
    tables = [(group, table) for group, table in tables if set(NAMES) <= set(table.columns)]
    if not tables:
        return None
    images = pd.concat([table for _, table in tables]).drop_duplicates(NAMES).reset_index(drop=True)
    if images.empty:
        return None
    joined = [
        (group, images[NAMES].merge(table.drop_duplicates(NAMES), on=NAMES, how="left")) for group, table in tables
    ]
    numbers = {f"{test}.{part}" for test in tests for part in PARTS}
    labels = [str(name) for name in images if name not in numbers and name not in (*NAMES, *ROWS, "identity")]
    present = {place: sheet for place, sheet in enumerate(sheets) if sheet is not None}
    tiles = _tiles(groups, present)
    return {
        "keys": texts(images["key"]),
        "targets": texts(images["target_key"]),
        "identities": texts(images["identity"]) if "identity" in images else [],
        "labels": labelled_columns(images, labels),
        "metrics": [
            metric | {"places": decimals.get((group, test))}
            for group, table in joined
            for test in tests
            if (metric := _metric(groups, group, table, test, len(tables)))
        ],
        "numbers": "Gain",
        "sheets": [sheet.data(groups[place]) for place, sheet in present.items()],
        "tiles": [{"sheet": list(present).index(place), "tile": tile, "name": name} for place, tile, name in tiles],
        "rows": [_rows(place, images, joined) for place in present],
        "pairs": _pairs(tiles, present),
    }


def _tiles(groups: Sequence[str], sheets: dict[int, SpriteSheet]) -> list[tuple[int, int, str]]:
    """(group, column of its sheet, name); source and target are those of the first group that has them."""

    def columns(tile: str) -> list[tuple[int, int]]:
        return [(place, sheet.tiles.index(tile)) for place, sheet in sheets.items() if tile in sheet.tiles]

    outputs = [(place, column, groups[place]) for place, column in columns("output")]
    source, target = ([(place, column, name) for place, column in columns(name)[:1]] for name in ("source", "target"))
    return [*source, *outputs, *target]


def _pairs(tiles: Sequence[tuple[int, int, str]], sheets: dict[int, SpriteSheet]) -> list[tuple[int, int]]:
    """Pairs of tiles to overlay: the control's output with each group's, then neighbours."""
    outputs = [index for index, (place, column, _) in enumerate(tiles) if sheets[place].tiles[column] == "output"]
    first = [(outputs[0], other) for other in outputs[1:]] if outputs else []
    return [*first, *(pair for pair in itertools.pairwise(range(len(tiles))) if pair not in first)]


def _metric(groups: Sequence[str], group: int, table: pd.DataFrame, test: str, tables: int) -> dict[str, Any] | None:
    if f"{test}.gain" not in table:
        return None
    columns = {groups[0]: f"{test}.control", groups[group]: f"{test}.group"}
    return {
        "name": test if tables == 1 else f"{test}, {groups[group]}",
        # A gain is positive if the group is better, whatever the metric's direction.
        **{"higher": True, "ideal": None, "arrow": "gain", "words": "positive if the group is better"},
        "values": _numbers(table[f"{test}.gain"]),
        "others": {name: _numbers(table[column]) for name, column in columns.items() if column in table},
    }


def _rows(place: int, images: pd.DataFrame, joined: Sequence[tuple[int, pd.DataFrame]]) -> list[int | None]:
    """Each image's row on a group's sheet; None if it has none."""
    tables = (
        [table["control_row"] for _, table in joined if "control_row" in table]
        if place == 0
        else [table["group_row"] for group, table in joined if group == place and "group_row" in table]
    )
    rows = pd.Series([float("nan")] * len(images))
    for column in tables:
        rows = rows.fillna(pd.to_numeric(column, errors="coerce"))
    return [None if pd.isna(row) or row < 0 else int(row) for row in rows]


def _numbers(values: pd.Series[Any]) -> list[float | None]:
    return rounded(pd.to_numeric(values, errors="coerce").tolist())
