"""Means and intervals over all images, by region and by label."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pandas as pd

from enface.data.images import natural_key
from enface_tools.evaluate.fallbacks import fallback_caveats, undetected_caveats
from enface_tools.evaluate.measure import card_of
from enface_tools.evaluate.metrics import GalleryMetric, Metric
from enface_tools.evaluate.models import (
    FORMAT,
    Estimate,
    GroupSummary,
    Measured,
    MetricSummary,
    SetMetricSummary,
    Summary,
    TwoLabelTable,
)
from enface_tools.evaluate.results import AT, Scores, label_columns
from enface_tools.evaluate.statistics import CONFIDENCE, MIN_PEOPLE, mean_estimate

INTERVAL = f"{CONFIDENCE:.0%} over identities, Student's t without skewness (Hall 1992)"
FEW_PEOPLE = f"Fewer than {MIN_PEOPLE} people have no intervals; evaluate on more people."

T = TypeVar("T")
Rows = npt.NDArray[np.bool_]


class Summarizer:
    """Computes the contents of ``summary.json``.

    Args:
        about: One row per image: ``identity`` and labels.
        scores: Of the outputs.
        baselines: Scores of other outputs for the same images, by name.
        metrics: The metrics, for direction and card.
        networks: Pretrained networks that each metric uses.
        depth: Bits per sample of the images that were measured.
    """

    def __init__(
        self,
        about: pd.DataFrame,
        scores: Scores,
        baselines: Mapping[str, Scores],
        metrics: Mapping[str, Metric],
        *,
        networks: Mapping[str, tuple[str, ...]],
        depth: int = 8,
    ) -> None:
        self._depth = depth
        self._about, self._scores, self._baselines = about, scores, baselines
        self._metrics, self._networks = metrics, networks
        self._identities = about["identity"].to_numpy().astype(str)
        self._per_image = [str(name) for name in scores.images.columns if AT not in str(name)]

    def summary(self, **context: Any) -> Summary:
        """The summary.

        Args:
            context: Its other keys: ``kind``, ``name``, ``split``, ``step``, ``checkpoint``, ``unavailable``,
                ``caveats``.
        """
        identities = len(np.unique(self._identities))
        few = [FEW_PEOPLE] if identities < MIN_PEOPLE else []
        fallbacks = fallback_caveats(self._about, self._scores, self._baselines, self._metrics)
        undetected = undetected_caveats(self._about, self._scores)
        context["caveats"] = [*context["caveats"], *fallbacks, *undetected, *few]
        return Summary(
            **context,
            format=FORMAT,
            metrics={name: self._metric(name) for name in self._per_image},
            sets={name: self._set_metric(name, value) for name, value in self._scores.sets.items()},
            regions=self._regions(),
            by={column: self._by(column) for column in self._labels},
            by_two=self._by_two(),
            images=len(self._about),
            identities=identities,
            interval=INTERVAL,
        )

    @property
    def _labels(self) -> list[str]:
        """The columns that group images."""
        return label_columns(self._about)

    def _info(self, name: str) -> dict[str, Any]:
        metric = self._metrics[name]
        bounds = metric.bounds
        return {
            "higher_is_better": metric.higher_is_better,
            "ideal": metric.ideal,
            "bounds": None if bounds is None else [None if math.isinf(end) else end for end in bounds],
            "unit": metric.unit,
            "card": card_of(metric, self._depth),
            "gallery": isinstance(metric, GalleryMetric),
            "networks": list(self._networks.get(name, ())),
        }

    def _metric(self, name: str) -> MetricSummary:
        values, compared = self._scores.images[name].to_numpy(), self._metrics[name].direction.compared
        gains = {
            key: self._estimate(compared(values) - compared(scores.images[name].to_numpy()))
            for key, scores in self._baselines.items()
            if name in scores.images
        }
        return MetricSummary(**self._measured(name).dump(), gains=gains, **self._info(name))

    def _measured(self, column: str, rows: Rows | None = None) -> Measured:
        """A metric over some images, by default all of them."""
        rows = np.ones(len(self._about), bool) if rows is None else rows
        values = self._scores.images[column].to_numpy()
        known = rows & ~np.isnan(values)
        tables = {key: item.images for key, item in self._baselines.items() if column in item.images}
        direction = self._metrics[column.partition(AT)[0]].direction
        distances = {"output": self._scores.images, **tables} if direction.ideal is not None else {}
        mean = self._estimate(np.where(rows, values, np.nan))
        return Measured(
            **within(mean, self._metrics[column.partition(AT)[0]].bounds).dump(),
            images=int(known.sum()),
            identities=self._people(known),
            baselines={key: finite(table[column][rows].mean()) for key, table in tables.items()},
            distances={key: finite(direction.compared(table[column][rows]).mean()) for key, table in distances.items()},
        )

    def _set_metric(self, name: str, value: float) -> SetMetricSummary:
        baselines = {key: finite(scores.sets[name]) for key, scores in self._baselines.items() if name in scores.sets}
        return SetMetricSummary(value=finite(value), baselines=baselines, **self._info(name))

    def _regions(self) -> dict[str, GroupSummary]:
        regions: dict[str, dict[str, Measured]] = {}
        for column in map(str, self._scores.images.columns):
            name, at, region = column.partition(AT)
            if at:
                regions.setdefault(region, {})[name] = self._measured(column)
        return {
            region: GroupSummary(images=max(item.images for item in metrics.values()), metrics=metrics)
            for region, metrics in regions.items()
        }

    def _by(self, column: str) -> dict[str, GroupSummary]:
        return {str(value): self._group(rows) for value, rows in self._groups(column)}

    def _group(self, rows: Rows) -> GroupSummary:
        metrics = {name: self._measured(name, rows) for name in self._per_image}
        return GroupSummary(images=int(rows.sum()), metrics=metrics)

    def _by_two(self) -> dict[str, TwoLabelTable]:
        if not {"pose", "light"} <= set(self._labels):
            return {}
        poses, lights = self._groups("pose"), self._groups("light")

        def cells(content: Callable[[Rows], T], values: pd.Series[float]) -> list[list[T]]:
            known = values.notna().to_numpy()
            return [[content(pose & light & known) for _, light in lights] for _, pose in poses]

        columns = {name: self._scores.images[name] for name in self._per_image}
        ideals = {name: self._metrics[name].direction for name in columns if self._metrics[name].ideal is not None}
        distances = {name: direction.compared(columns[name]) for name, direction in ideals.items()}
        table = TwoLabelTable(
            rows=[str(value) for value, _ in poses],
            columns=[str(value) for value, _ in lights],
            metrics={name: cells(partial(_mean, values), values) for name, values in columns.items()},
            images={name: cells(_count, values) for name, values in columns.items()},
            identities={name: cells(self._people, values) for name, values in columns.items()},
            distances={name: cells(partial(_mean, values), values) for name, values in distances.items()},
        )
        return {"pose x light": table}

    def _people(self, rows: Rows) -> int:
        return len(np.unique(self._identities[rows]))

    def _groups(self, column: str) -> list[tuple[Any, Rows]]:
        """Each value of a column, in natural order, with its images."""
        values = self._about[column]
        present = sorted((value for value in values.unique() if not pd.isna(value)), key=natural_key)
        return [(value, (values == value).to_numpy()) for value in present]

    def _estimate(self, values: npt.NDArray[Any]) -> Estimate:
        return estimate(values, self._identities)


def _mean(values: pd.Series[float], rows: Rows) -> float | None:
    return finite(values[rows].mean())


def _count(rows: Rows) -> int:
    return int(rows.sum())


def estimate(values: npt.NDArray[Any], identities: npt.NDArray[Any]) -> Estimate:
    """The mean over images with its interval over people, as a file holds it."""
    item = mean_estimate(values, identities)
    low, high = item.interval()
    return Estimate(mean=finite(item.mean), low=finite(low), high=finite(high))


def within(item: Estimate, bounds: tuple[float, float] | None) -> Estimate:
    """An interval without the numbers that a metric cannot have."""
    if bounds is None or item.low is None or item.high is None:
        return item
    return Estimate(mean=item.mean, low=max(item.low, bounds[0]), high=min(item.high, bounds[1]))


def finite(value: float) -> float | None:
    """A number as JSON can hold it: None if it is NaN or infinite."""
    return float(value) if math.isfinite(value) else None
