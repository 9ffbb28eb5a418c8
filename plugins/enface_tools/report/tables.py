"""Tables of a report: by region, by label, by two labels, recognition by pose, and the distribution over images."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from enface_tools.evaluate.direction import Direction
from enface_tools.evaluate.models import Estimate, GroupSummary, Measured, MetricSummary, Summary, TwoLabelTable
from enface_tools.evaluate.precision import places
from enface_tools.evaluate.results import column_of
from enface_tools.report.numbers import baseline_names, count, digits, label_key, number, shown

POSE = "pose"


@dataclass(frozen=True)
class Line:
    """One value of a label, or one region: the output's mean and the baselines', as text.

    Attributes:
        best: True if the output is better than every baseline.
        bar: Positions in percent of ``zero``, ``mean``, ``low``, ``high``, ``ideal`` and each baseline on the axis.
    """

    value: str
    images: str
    identities: str
    mean: str
    interval: str
    baselines: list[str]
    best: bool
    bar: Mapping[str, float]


@dataclass(frozen=True)
class Table:
    """One metric by the values of a label, or by region; all bars share one axis from ``low`` to ``high``."""

    metric: str
    direction: Direction
    lines: list[Line]
    low: str
    high: str


@dataclass(frozen=True)
class Cell:
    """One cell of a heat map.

    Attributes:
        text: Its number.
        heat: A grade from 0 (worst cell) to 1 (best); None without a number.
        title: The numbers of its images and people; empty if they are not known.
    """

    text: str
    heat: float | None
    title: str


@dataclass(frozen=True)
class HeatMap:
    """One metric by two labels."""

    metric: str
    direction: Direction
    rows: list[tuple[str, list[Cell]]]


@dataclass(frozen=True)
class SetNumber:
    """A metric of the whole set, with the baselines' numbers."""

    name: str
    direction: Direction
    value: str
    baselines: list[str]


def label_tables(summary: Summary) -> dict[str, list[Table]]:
    """For each label, one table per metric."""
    return {column: tables for column, groups in summary.by.items() if (tables := _tables(summary, groups))}


def region_tables(summary: Summary) -> list[Table]:
    """One table per metric, by region."""
    return _tables(summary, summary.regions)


def recognition(summary: Summary) -> list[Table]:
    """Identification and verification, as rank-1 and TAR, by pose."""
    return [table for table in label_tables(summary).get(POSE, []) if summary.metrics[table.metric].gallery]


def _tables(summary: Summary, groups: Mapping[str, GroupSummary]) -> list[Table]:
    ordered = sorted(groups.items(), key=lambda item: label_key(item[0]))
    baselines = baseline_names(summary)
    tables = []
    for name, item in summary.metrics.items():
        groups_with_metric = [(value, group) for value, group in ordered if name in group.metrics]
        if groups_with_metric:
            tables.append(_table(name, item.direction, groups_with_metric, baselines))
    return tables


def _table(
    name: str, direction: Direction, groups: Sequence[tuple[str, GroupSummary]], baselines: Sequence[str]
) -> Table:
    items = [(value, group.metrics[name]) for value, group in groups]
    numbers = [
        {
            **{"low": number(item.low), "mean": number(item.mean), "high": number(item.high)},
            "ideal": number(direction.ideal),
            **{baseline: number(item.baselines.get(baseline)) for baseline in baselines},
        }
        for _, item in items
    ]
    (low, high), bars = _bars(numbers)
    lines = [
        Line(
            value,
            count(item.images),
            count(item.identities),
            shown(numbers["mean"], digits(item)),
            interval_text(item),
            [shown(numbers[baseline], digits(item)) for baseline in baselines],
            _beats(item, direction),
            bar,
        )
        for (value, item), numbers, bar in zip(items, numbers, bars, strict=True)
    ]
    return Table(name, direction, lines, f"{low:.2g}", f"{high:.2g}")


def _bars(lines: Sequence[Mapping[str, float]]) -> tuple[tuple[float, float], list[dict[str, float]]]:
    """Ends of the axis, and for each line the positions of its numbers on it in percent.

    The axis has 0, because a bar's length is compared; ``zero`` is its position. Undefined numbers are missing.
    """
    finite = [value for line in lines for value in line.values() if math.isfinite(value)]
    low, high = min([0.0, *finite]), max([0.0, *finite])
    span = (high - low) or 1.0
    known = [{"zero": 0.0} | {name: value for name, value in line.items() if math.isfinite(value)} for line in lines]
    return (low, high), [{name: round(100 * (value - low) / span, 2) for name, value in line.items()} for line in known]


def interval_text(item: Estimate) -> str:
    """An interval as text; empty without one."""
    low, high, places = number(item.low), number(item.high), digits(item)
    return "" if math.isnan(low) or math.isnan(high) else f"[{shown(low, places)}, {shown(high, places)}]"


def heat_maps(summary: Summary) -> dict[str, tuple[list[str], list[HeatMap]]]:
    """For each pair of labels: the values of the second, and one heat map per metric."""
    maps = {}
    for pair, table in summary.by_two.items():
        items = [
            HeatMap(name, summary.metrics[name].direction, _heated(table, name, summary.metrics[name]))
            for name in table.metrics
            if name in summary.metrics
        ]
        if table.rows and table.columns and items:
            maps[pair] = (table.columns, items)
    return maps


def _heated(table: TwoLabelTable, name: str, item: MetricSummary) -> list[tuple[str, list[Cell]]]:
    means = [[number(mean) for mean in row] for row in table.metrics[name]]
    # Cells have no intervals of their own; they are at least as wide as that of all images.
    direction, places = item.direction, digits(item)
    score = direction.change.score if name in table.distances else direction.score
    scores = [[score(number(value)) for value in row] for row in table.distances.get(name, table.metrics[name])]
    known = [value for row in scores for value in row if math.isfinite(value)]
    worst, span = min(known, default=0.0), (max(known, default=0.0) - min(known, default=0.0)) or 1.0

    def cell(row: int, column: int) -> Cell:
        own = scores[row][column]
        heat = round((own - worst) / span, 3) if math.isfinite(own) else None
        title = ""
        if name in table.images and name in table.identities:
            title = f"images: {table.images[name][row][column]:,}, people: {table.identities[name][row][column]:,}"
        return Cell(shown(means[row][column], places), heat, title)

    lines = [(value, [cell(row, column) for column in range(len(means[row]))]) for row, value in enumerate(table.rows)]
    return sorted(lines, key=lambda line: label_key(line[0]))


def set_numbers(summary: Summary) -> list[SetNumber]:
    """The metrics of the whole set."""
    baselines, numbers = baseline_names(summary), []
    for name, item in summary.sets.items():
        values = [number(item.value), *(number(item.baselines.get(baseline)) for baseline in baselines)]
        value, *others = (shown(one, places(one)) for one in values)
        numbers.append(SetNumber(name, item.direction, value, others))
    return numbers


def spread(images: pd.DataFrame, metrics: Mapping[str, Direction], decimals: Mapping[str, int]) -> list[dict[str, str]]:
    """The distribution of each metric over the images: quantiles from worse to better, and the worst image.

    Args:
        images: ``images.csv``.
        decimals: Of each metric.
    """
    lines = []
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
        texts = [shown(value, decimals[name]) for value in numbers]
        columns = dict(zip(("worst", "worst_5", "median", "best_5"), texts, strict=True))
        lines.append({"name": name, "key": str(images["key"].iloc[place]), "place": str(place), **columns})
    return lines


def _quantiles(values: pd.Series[float], direction: Direction) -> list[float]:
    """The values that 5, 50 and 95 % of all are worse than."""
    shares = [0.05, 0.5, 0.95]
    if direction.ideal is None:
        return [float(value) for value in values.quantile(shares if direction.higher else shares[::-1])]
    # Values on both sides of the ideal can be equally good: take values that occur, not means of two.
    ordered = values.iloc[values.map(direction.score).argsort(kind="stable")]
    return [float(ordered.iloc[round(share * (len(ordered) - 1))]) for share in shares]


def _beats(item: Measured, direction: Direction) -> bool:
    """True if the mean, or the mean distance to the ideal, is better than those of all baselines."""
    own = number(item.compared())
    others = [value for name in item.baselines if not math.isnan(value := number(item.compared(name)))]
    score = direction.change.score
    return bool(others) and not math.isnan(own) and all(score(own) > score(value) for value in others)
