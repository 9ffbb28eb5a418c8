"""Means with intervals of what was measured, over all images, by region and by label."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from enface.plugin.components import GalleryMetric, Metric
from enface_tools.evaluate.measure import AT, Measured
from enface_tools.evaluate.statistics import CONFIDENCE, interval

INTERVAL = f"{CONFIDENCE:.0%} bootstrap over identities"
MOST_VALUES = 40
"""A column with more values than this is no label to group by."""
NO_LABELS = ("key", "target_key", "identity")
FORMAT = 2


class Summary:
    """Makes the numbers of ``summary.json``.

    Args:
        about: A row an image: ``identity`` and whatever else is known of it.
        measured: What was found of the outputs.
        baselines: What was found of other outputs for the same images, by name.
        metrics: The metrics, for their direction and card.
        networks: The pretrained networks that each metric looks through.
        bootstrap: Resamples for the intervals.
    """

    def __init__(
        self,
        about: pd.DataFrame,
        measured: Measured,
        baselines: Mapping[str, Measured],
        metrics: Mapping[str, Metric],
        *,
        networks: Mapping[str, tuple[str, ...]],
        bootstrap: int,
        seed: int,
    ) -> None:
        self._about, self._measured, self._baselines = about, measured, baselines
        self._metrics, self._networks = metrics, networks
        self._bootstrap, self._seed = bootstrap, seed
        self._identities = about["identity"].to_numpy()
        self._per_image = [str(name) for name in measured.images.columns if AT not in str(name)]

    def numbers(self) -> dict[str, Any]:
        """``metrics``, ``sets``, ``regions``, ``by`` and ``by_two``, as plain data without NaN."""
        return {
            "format": FORMAT,
            "metrics": {name: self._metric(name) for name in self._per_image},
            "sets": {name: self._set(name, value) for name, value in self._measured.sets.items()},
            "regions": self._regions(),
            "by": {column: self._by(column) for column in self.labels},
            "by_two": self._by_two(),
            "images": len(self._about),
            "identities": len(np.unique(self._identities.astype(str))),
            "interval": INTERVAL,
        }

    @property
    def labels(self) -> list[str]:
        """The columns that images can be grouped by: those of some, but not many, values."""
        return [
            str(name)
            for name in self._about.columns
            if name not in NO_LABELS and 2 <= self._about[name].nunique() <= MOST_VALUES
        ]

    def _what(self, name: str) -> dict[str, Any]:
        metric = self._metrics[name]
        bounds = metric.bounds
        return {
            "higher_is_better": metric.higher_is_better,
            "ideal": metric.ideal,
            "bounds": None if bounds is None else [None if math.isinf(end) else end for end in bounds],
            "card": metric.card,
            "gallery": isinstance(metric, GalleryMetric),
            "networks": list(self._networks.get(name, ())),
        }

    def _metric(self, name: str) -> dict[str, Any]:
        values = self._measured.images[name].to_numpy()
        gains = {
            other: self._mean(values - found.images[name].to_numpy())
            for other, found in self._baselines.items()
            if name in found.images
        }
        return {**self._mean(values), "baselines": self._others(name), "gains": gains, **self._what(name)}

    def _set(self, name: str, value: float) -> dict[str, Any]:
        others = {key: known(found.sets[name]) for key, found in self._baselines.items() if name in found.sets}
        return {"value": known(value), "baselines": others, **self._what(name)}

    def _regions(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for column in map(str, self._measured.images.columns):
            name, at, region = column.partition(AT)
            if at:
                values = self._measured.images[column].to_numpy()
                item = found.setdefault(region, {"images": int((~np.isnan(values)).sum()), "metrics": {}})
                item["metrics"][name] = {**self._mean(values), "baselines": self._others(column)}
        return found

    def _by(self, column: str) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for value, here in self._groups(column):
            numbers = {
                name: {
                    "mean": known(self._measured.images[name][here].mean()),
                    "baselines": self._others(name, here),
                }
                for name in self._per_image
            }
            found[str(value)] = {"images": int(here.sum()), "metrics": numbers}
        return found

    def _by_two(self) -> dict[str, Any]:
        if not {"pose", "light"} <= set(self.labels):
            return {}
        rows, columns = self._groups("pose"), self._groups("light")
        numbers = {
            name: [
                [known(self._measured.images[name][first & second].mean()) for _, second in columns]
                for _, first in rows
            ]
            for name in self._per_image
        }
        table = {"rows": [str(value) for value, _ in rows], "columns": [str(value) for value, _ in columns]}
        return {"pose x light": {**table, "metrics": numbers}}

    def _groups(self, column: str) -> list[tuple[Any, npt.NDArray[np.bool_]]]:
        """Each value of a column, in natural order, with the images that have it."""
        values = self._about[column]
        present = [value for value in values.unique() if not pd.isna(value)]
        try:
            present.sort()
        except TypeError:
            present.sort(key=str)
        return [(value, (values == value).to_numpy()) for value in present]

    def _mean(self, values: npt.NDArray[Any]) -> dict[str, Any]:
        low, high = interval(values, self._identities, self._bootstrap, self._seed)
        mean = float(np.nanmean(values)) if not np.isnan(values).all() else math.nan
        return {"mean": known(mean), "low": known(low), "high": known(high)}

    def _others(self, column: str, here: npt.NDArray[np.bool_] | None = None) -> dict[str, float | None]:
        """The baselines' means."""
        tables = {key: found.images for key, found in self._baselines.items() if column in found.images}
        return {
            key: known((table[column] if here is None else table[column][here]).mean()) for key, table in tables.items()
        }


def known(value: float) -> float | None:
    """A number as JSON can hold it: None where there is none."""
    return float(value) if math.isfinite(value) else None
