"""A report's tables: by region, by label, by two labels, recognition by pose, and what each stage bought."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from enface.plugin.direction import Direction
from enface_tools.evaluate.results import column_of
from enface_tools.report.files import mapping
from enface_tools.report.numbers import baseline_names, decimals, direction_of, get, number, shown

POSE = "pose"


@dataclass(frozen=True)
class Line:
    """One value of a label (or one region): its images, the output's number and the baselines', as text.

    Attributes:
        best: Whether the output is better than every baseline.
    """

    value: str
    images: str
    mean: str
    interval: str
    others: list[str]
    best: bool


@dataclass(frozen=True)
class Table:
    """One metric by the values of a label, or by region.

    Attributes:
        curves: Of output and baselines, ``{"x": [...], "y": [...]}``, where the values are numbers; else empty.
    """

    metric: str
    direction: Direction
    lines: list[Line]
    curves: dict[str, dict[str, list[float]]]


@dataclass(frozen=True)
class Cell:
    """One cell of a heat map: its number as text, and how good it is from 0 (the worst cell) to 1 (the best)."""

    text: str
    heat: float | None


@dataclass(frozen=True)
class HeatMap:
    """One metric by two labels."""

    metric: str
    direction: Direction
    rows: list[tuple[str, list[Cell]]]


@dataclass(frozen=True)
class SetNumber:
    """A number of the whole set, beside the baselines'."""

    name: str
    direction: Direction
    value: str
    others: list[str]


def label_tables(summary: Mapping[str, Any]) -> dict[str, list[Table]]:
    """For each label a table a metric; an evaluation of format 1 knows the pose alone."""
    found = mapping(summary, "by") or {POSE: mapping(summary, "by_pose")}
    return {str(column): tables for column, groups in found.items() if (tables := _tables(summary, groups))}


def region_tables(summary: Mapping[str, Any]) -> list[Table]:
    """A table a metric, by part of the image."""
    return _tables(summary, mapping(summary, "regions"))


def recognition(summary: Mapping[str, Any]) -> Table | None:
    """What looks for images in a gallery, as rank-1 does, by pose: outputs beside the sources as they are.

    None where no such metric was measured.
    """
    measured, tables = mapping(summary, "metrics"), label_tables(summary).get(POSE, [])
    return next((table for table in tables if get(measured.get(table.metric), "gallery") is True), None)


def _tables(summary: Mapping[str, Any], groups: Any) -> list[Table]:
    ordered = sorted(groups.items(), key=lambda item: _order(str(item[0]))) if isinstance(groups, Mapping) else []
    names = {str(name): item for name, item in mapping(summary, "metrics").items()}
    others = baseline_names(summary)
    found = []
    for name, item in names.items():
        here = [(str(value), group) for value, group in ordered if name in mapping(group, "metrics")]
        if here:
            found.append(_table(name, direction_of(item), here, others))
    return found


def _table(name: str, direction: Direction, groups: Sequence[tuple[str, Any]], others: Sequence[str]) -> Table:
    read = []
    for value, group in groups:
        item = mapping(mapping(group, "metrics"), name)
        beside = [number(mapping(item, "baselines").get(other)) for other in others]
        read.append((value, group, item, number(item.get("mean")), beside))
    places = decimals(value for *_, mean, beside in read for value in (mean, *beside))
    lines = [
        Line(
            value,
            count(group.get("images")),
            shown(mean, places),
            interval_text(item, places),
            [shown(one, places) for one in beside],
            _beats(mean, beside, direction),
        )
        for value, group, item, mean, beside in read
    ]
    return Table(
        name, direction, lines, _curves([(value, [mean, *beside]) for value, _, _, mean, beside in read], others)
    )


def interval_text(item: Mapping[str, Any], places: int) -> str:
    """The interval of a summary's item; empty where it has none."""
    low, high = number(item.get("low")), number(item.get("high"))
    return "" if math.isnan(low) or math.isnan(high) else f"[{shown(low, places)}, {shown(high, places)}]"


def _curves(points: Sequence[tuple[str, list[float]]], others: Sequence[str]) -> dict[str, dict[str, list[float]]]:
    places = [_as_number(value) for value, _ in points]
    if len(points) < 3 or not all(map(math.isfinite, places)):
        return {}
    rows = [values for _, values in points]
    return {
        name: {"x": places, "y": [values[index] for values in rows]} for index, name in enumerate(("output", *others))
    }


def heat_maps(summary: Mapping[str, Any]) -> dict[str, tuple[list[str], list[HeatMap]]]:
    """For each pair of labels: the values of the second, and a heat map a metric."""
    found = {}
    for pair, item in mapping(summary, "by_two").items():
        rows, columns = _texts(get(item, "rows")), _texts(get(item, "columns"))
        maps = [
            HeatMap(str(name), direction, _heated(rows, columns, table, direction))
            for name, table in mapping(item, "metrics").items()
            for direction in [direction_of(mapping(summary, "metrics").get(name))]
        ]
        if rows and columns and maps:
            found[str(pair)] = (columns, maps)
    return found


def _heated(rows: list[str], columns: list[str], table: Any, direction: Direction) -> list[tuple[str, list[Cell]]]:
    numbers = [[_at(table, row, column) for column in range(len(columns))] for row in range(len(rows))]
    known = [value for line in numbers for value in line if math.isfinite(value)]
    places = decimals(known)
    scores = [direction.score(value) for value in known]
    least, span = min(scores, default=0.0), (max(scores, default=0.0) - min(scores, default=0.0)) or 1.0

    def cell(value: float) -> Cell:
        heat = round((direction.score(value) - least) / span, 3) if math.isfinite(value) else None
        return Cell(shown(value, places), heat)

    lines = [(name, [cell(value) for value in line]) for name, line in zip(rows, numbers, strict=True)]
    return sorted(lines, key=lambda line: _order(line[0]))


def _at(table: Any, row: int, column: int) -> float:
    try:
        return number(table[row][column])
    except (IndexError, KeyError, TypeError):
        return math.nan


def _texts(values: Any) -> list[str]:
    return [str(value) for value in values] if isinstance(values, list) else []


def set_numbers(summary: Mapping[str, Any], baselines: Sequence[str]) -> list[SetNumber]:
    """The numbers that are of the whole set at once."""
    found = []
    for name, item in mapping(summary, "sets").items():
        values = [number(get(item, "value")), *(number(mapping(item, "baselines").get(other)) for other in baselines)]
        value, *others = (shown(one, decimals(values)) for one in values)
        found.append(SetNumber(str(name), direction_of(item), value, others))
    return found


def count(value: Any) -> str:
    """A whole number as text, with commas; a dash for anything else."""
    found = number(value)
    return f"{int(found):,}" if math.isfinite(found) else "\N{EN DASH}"


def spread(images: pd.DataFrame, metrics: Mapping[str, Direction]) -> list[dict[str, str]]:
    """How a metric spreads over the images: quantiles from worse to better, and the worst image.

    Args:
        images: ``evaluation/images.csv``.
        metrics: Name -> which values are better.
    """
    found = []
    for name, direction in metrics.items():
        column = column_of(images, name)
        if not column or "key" not in images:
            continue
        values = pd.to_numeric(images[column], errors="coerce").dropna()
        if values.empty:
            continue
        worst = int(values.map(direction.score).argmin())
        place = int(values.index[worst])
        numbers = [float(values.iloc[worst]), *_quantiles(values, direction)]
        texts = [shown(value, decimals(numbers)) for value in numbers]
        keys = dict(zip(("worst", "bad", "median", "good"), texts, strict=True))
        found.append({"name": name, "key": str(images["key"].iloc[place]), "place": str(place), **keys})
    return found


def _quantiles(values: pd.Series[float], direction: Direction) -> list[float]:
    """The values that 5, 50 and 95 % of all are worse than."""
    shares = [0.05, 0.5, 0.95]
    if direction.ideal is None:
        found: list[float] = values.quantile(shares if direction.higher else shares[::-1]).tolist()
        return found
    # Values on both sides of the ideal can be equally good, so these are values that occur, not means of two.
    ordered = values.iloc[values.map(direction.score).argsort(kind="stable")]
    return [float(ordered.iloc[round(share * (len(ordered) - 1))]) for share in shares]


def _beats(mean: float, others: list[float], direction: Direction) -> bool:
    known = [value for value in others if not math.isnan(value)]
    return (
        bool(known) and not math.isnan(mean) and all(direction.score(mean) > direction.score(value) for value in known)
    )


def _order(value: str) -> tuple[float, str]:
    place = _as_number(value)
    return (place if math.isfinite(place) else math.inf, value)


def _as_number(text: str) -> float:
    try:
        return number(float(text))
    except ValueError:
        return math.nan
