"""A comparison's gallery: source, each group's output and target beside each other, by what was gained."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import pandas as pd

from enface_tools.report.files import rounded
from enface_tools.report.gallery import labelled_columns, texts
from enface_tools.report.pictures import Sheet

NAMES = ["key", "target_key"]
ROWS = ("control_row", "group_row", "seeds")


def compared_gallery(
    groups: Sequence[str],
    tables: Sequence[tuple[int, pd.DataFrame]],
    tests: Sequence[str],
    sheets: Sequence[Sheet | None],
) -> dict[str, Any] | None:
    """What the gallery shows; None when no image is shared.

    Args:
        groups: Their names, the control's first.
        tables: (group, ``images-N.csv``).
        tests: As the columns are named, ``TEST.gain``.
        sheets: A group's pictures, in the order of ``groups``.
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
    known = {
        name for test in tests for name in (f"{test}.{part}" for part in ("control", "group", "difference", "gain"))
    }
    labels = [str(name) for name in images if name not in known and name not in (*NAMES, *ROWS, "identity")]
    present = [place for place, sheet in enumerate(sheets) if sheet is not None]
    tiles = _tiles(groups, sheets, present)
    return {
        "keys": texts(images["key"]),
        "targets": texts(images["target_key"]),
        "identities": texts(images["identity"]) if "identity" in images else [],
        "labels": labelled_columns(images, labels),
        "metrics": [
            metric
            for group, table in joined
            for test in tests
            if (metric := _metric(groups, group, table, test, len(tables)))
        ],
        "numbers": "Gain",
        "sheets": [sheets[place].data(groups[place]) for place in present],  # type: ignore[union-attr]
        "tiles": [{"sheet": present.index(place), "tile": tile, "name": name} for place, tile, name in tiles],
        "rows": [_rows(place, images, joined) for place in present],
        "pairs": _pairs(tiles, sheets),
    }


def _tiles(groups: Sequence[str], sheets: Sequence[Sheet | None], present: Sequence[int]) -> list[tuple[int, int, str]]:
    """(group, place on its sheet, name): the source and the target are the first group's that has them."""

    def where(tile: str) -> list[tuple[int, int]]:
        found = []
        for place in present:
            sheet = sheets[place]
            if sheet is not None and tile in sheet.tiles:
                found.append((place, sheet.tiles.index(tile)))
        return found

    outputs = [(place, tile, groups[place]) for place, tile in where("output")]
    source, target = ([(place, tile, name) for place, tile in where(name)[:1]] for name in ("source", "target"))
    return [*source, *outputs, *target]


def _pairs(tiles: Sequence[tuple[int, int, str]], sheets: Sequence[Sheet | None]) -> list[tuple[int, int]]:
    """Which two can be laid over each other: the control's output and each group's, then what stands side by side."""
    outputs = [number for number, (place, tile, _) in enumerate(tiles) if _shows(sheets[place], tile, "output")]
    found = [(outputs[0], other) for other in outputs[1:]] if outputs else []
    return [*found, *(two for two in itertools.pairwise(range(len(tiles))) if two not in found)]


def _shows(sheet: Sheet | None, tile: int, name: str) -> bool:
    return sheet is not None and sheet.tiles[tile] == name


def _metric(groups: Sequence[str], group: int, table: pd.DataFrame, test: str, pairs: int) -> dict[str, Any] | None:
    if f"{test}.gain" not in table:
        return None
    beside = {groups[0]: f"{test}.control", groups[group]: f"{test}.group"}
    return {
        "name": test if pairs == 1 else f"{test}, {groups[group]}",
        # A gain is positive where the group is better, whatever the metric's direction.
        **{"higher": True, "ideal": None, "arrow": "gain", "words": "positive where the group is better"},
        "values": _numbers(table[f"{test}.gain"]),
        "others": {name: _numbers(table[column]) for name, column in beside.items() if column in table},
    }


def _rows(place: int, images: pd.DataFrame, joined: Sequence[tuple[int, pd.DataFrame]]) -> list[int | None]:
    """Each image's place on a group's sheet; None where it is not there."""
    tables = (
        [table["control_row"] for _, table in joined if "control_row" in table]
        if place == 0
        else [table["group_row"] for group, table in joined if group == place and "group_row" in table]
    )
    found = pd.Series([float("nan")] * len(images))
    for column in tables:
        found = found.fillna(pd.to_numeric(column, errors="coerce"))
    return [None if pd.isna(row) or row < 0 else int(row) for row in found]


def _numbers(values: pd.Series[Any]) -> list[float | None]:
    return rounded(pd.to_numeric(values, errors="coerce").tolist())
