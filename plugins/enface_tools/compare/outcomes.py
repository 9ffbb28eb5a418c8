"""Differences between paired groups: means, intervals, tests, effect sizes and outcomes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pandas as pd

from enface_tools.compare.crossed import crossed_mean, paired_difference, replicated_mean, unpaired_difference
from enface_tools.compare.pairing import Pairing
from enface_tools.compare.quantities import Quantity
from enface_tools.evaluate.statistics import (
    Floats,
    MeanEstimate,
    Outcome,
    cohens_dz,
    holm,
    per_identity,
    person_values,
    rank_biserial,
)
from enface_tools.report.numbers import label_key

ALPHA = 0.05
POWER = 0.8

Rows = npt.NDArray[np.bool_]
Margins = Mapping[str, float]
"""The largest difference that does not matter, by name of the metric."""


@dataclass(frozen=True)
class MeanInterval:
    """A mean with the ends of its interval; NaN if undefined."""

    mean: float
    low: float
    high: float

    @classmethod
    def of(cls, estimate: MeanEstimate) -> MeanInterval:
        """The 95 % interval of an estimate."""
        return cls(estimate.mean, *estimate.interval())

    def __neg__(self) -> MeanInterval:
        return MeanInterval(-self.mean, -self.high, -self.low)

    @property
    def excludes_zero(self) -> bool:
        """True if both ends have the same sign."""
        return self.low > 0 or self.high < 0


@dataclass(frozen=True)
class QuantityResult:
    """One quantity of a group compared with the control.

    Attributes:
        images: Images with a number on both sides.
        missing: Shared images without one.
        identities: People that these images show.
        control, group: Means over these images.
        difference: Group minus control, of values or of distances to the ideal. With several runs on both sides the
            interval covers other people and other seeds, else other people only.
        control_by_run, group_by_run: Mean of each run, of values or of distances to the ideal.
        p, p_adjusted: Test of the difference against 0.
        detectable: Smallest difference that such a comparison detects with 80 % power, before adjustment.
        margin: Largest difference that does not matter; None without one.
        p_equivalent: Test against a difference beyond the margin (two one-sided tests), adjusted; NaN without one.
        rank_biserial, d_z: Effect sizes over people, positive if the group is better.
    """

    quantity: Quantity
    images: int
    missing: int
    identities: int
    control: float
    group: float
    difference: MeanInterval
    control_by_run: Sequence[float]
    group_by_run: Sequence[float]
    p: float
    p_adjusted: float
    detectable: float
    margin: float | None
    p_equivalent: float
    rank_biserial: float
    d_z: float

    @property
    def gain(self) -> MeanInterval:
        """The difference, positive if the group is better."""
        return self.difference if self.quantity.sign > 0 else -self.difference

    @property
    def seed_sd(self) -> tuple[float, float]:
        """Standard deviation (n - 1) of the runs' means, of the control and of the group; NaN for a single run."""
        return _deviation(self.control_by_run), _deviation(self.group_by_run)

    @property
    def is_equivalent(self) -> bool:
        """True if the difference is shown to be within the margin."""
        return self.p_equivalent < ALPHA

    @property
    def outcome(self) -> Outcome:
        """``better`` or ``worse`` if clear, else ``equivalent`` or ``unclear``; ``none`` without numbers.

        A clear outcome needs an interval without 0, an adjusted p below 0.05, and ranks that agree with the mean.
        """
        if math.isnan(self.difference.mean):
            return "none"
        mean = self.gain.mean
        if self.difference.excludes_zero and self.p_adjusted < ALPHA and mean * self.rank_biserial > 0:
            return "better" if mean > 0 else "worse"
        return "equivalent" if self.is_equivalent else "unclear"


@dataclass(frozen=True)
class SubsetResults:
    """Results on the images with one value of a label."""

    column: str
    value: str
    images: int
    identities: int
    results: list[QuantityResult]


def compare_quantities(
    pairing: Pairing, quantities: Sequence[Quantity], margins: Margins | None = None
) -> list[QuantityResult]:
    """Compare every quantity over all shared images; p is adjusted for all of them together."""
    return adjusted(_results(pairing, quantities, np.ones(len(pairing.about), bool), margins or {}))


def compare_subsets(
    pairing: Pairing, quantities: Sequence[Quantity], column: str, margins: Margins | None = None
) -> list[SubsetResults]:
    """Compare every quantity inside each value of a label; p is adjusted for all values and quantities together."""
    values = pairing.about[column].to_numpy()
    subsets = []
    for value in sorted(set(values), key=label_key):
        rows = values == value
        identities = int(pairing.about["identity"][rows].nunique())
        results = _results(pairing, quantities, rows, margins or {})
        subsets.append(SubsetResults(column, value, int(rows.sum()), identities, results))
    family = iter(adjusted([result for subset in subsets for result in subset.results]))
    return [replace(subset, results=[next(family) for _ in subset.results]) for subset in subsets]


def adjusted(family: Sequence[QuantityResult]) -> list[QuantityResult]:
    """Return results with p adjusted for their number; tests of equivalence are a family of their own."""
    p_values = holm([result.p for result in family])
    equivalent = holm([result.p_equivalent for result in family])
    return [
        replace(result, p_adjusted=p, p_equivalent=q) for result, p, q in zip(family, p_values, equivalent, strict=True)
    ]


def run_values(runs: Sequence[pd.Series[float]], identities: npt.NDArray[np.object_]) -> Floats:
    """Values of each run on each person, (S, P), whose means over people are the runs' means over images."""
    tables = [per_identity(run.to_frame().to_numpy(np.float64), identities) for run in runs]
    return np.stack([person_values(sums[:, 0], sizes[:, 0]) for sums, sizes in tables])


def _results(pairing: Pairing, quantities: Sequence[Quantity], rows: Rows, margins: Margins) -> list[QuantityResult]:
    """Compare every quantity over some rows; p is not adjusted yet."""
    identities = pairing.about["identity"].to_numpy()[rows]
    return [_result(pairing, quantity, rows, identities, margins.get(quantity.name)) for quantity in quantities]


def _result(
    pairing: Pairing, quantity: Quantity, rows: Rows, identities: npt.NDArray[np.object_], margin: float | None
) -> QuantityResult:
    name = quantity.name
    difference = pairing.difference[name][rows]
    sides = [[run[name][rows] for run in runs] for runs in (pairing.control_runs, pairing.group_runs)]
    sums, sizes = per_identity(difference.to_frame().to_numpy(np.float64), identities)
    with np.errstate(invalid="ignore"):
        gains = (sums / sizes)[:, 0] * quantity.sign
    estimate = _estimate(pairing, sides, identities)
    images = int(difference.notna().sum())
    return QuantityResult(
        quantity,
        images=images,
        missing=len(difference) - images,
        identities=int((sizes > 0).sum()),
        control=float(pairing.control[name][rows].mean()),
        group=float(pairing.group[name][rows].mean()),
        difference=MeanInterval.of(estimate),
        control_by_run=[float(run.mean()) for run in sides[0]],
        group_by_run=[float(run.mean()) for run in sides[1]],
        p=estimate.p(),
        p_adjusted=estimate.p(),
        detectable=detectable(estimate),
        margin=margin,
        p_equivalent=math.nan if margin is None else max(estimate.p_above(-margin), estimate.p_below(margin)),
        rank_biserial=rank_biserial(gains),
        d_z=cohens_dz(gains),
    )


def difference_estimate(pairing: Pairing, quantity: Quantity) -> MeanEstimate:
    """The difference of a quantity over all shared images, group minus control."""
    sides = [[run[quantity.name] for run in runs] for runs in (pairing.control_runs, pairing.group_runs)]
    return _estimate(pairing, sides, pairing.about["identity"].to_numpy())


def _estimate(
    pairing: Pairing, sides: Sequence[Sequence[pd.Series[float]]], identities: npt.NDArray[np.object_]
) -> MeanEstimate:
    """The difference of two sides, as the design of the comparison allows."""
    controls, groups = sides
    if pairing.design == "replicated":
        differences = [group - control for control, group in zip(controls, groups, strict=True)]
        if len(differences) > 1:
            return replicated_mean([(np.asarray(difference, np.float64), identities) for difference in differences])
        return crossed_mean(run_values(differences, identities))
    control, group = (run_values(side, identities) for side in sides)
    return (paired_difference if pairing.design == "paired" else unpaired_difference)(control, group)


def detectable(estimate: MeanEstimate) -> float:
    """The smallest difference that is detected at 5 % with 80 % power (Cohen 1988), of such runs and people."""
    from scipy import special

    if math.isnan(estimate.error):
        return math.nan
    quantiles = special.stdtrit(estimate.df, np.array([1 - ALPHA / 2, POWER]))
    return float(estimate.error * quantiles.sum())


def _deviation(values: Sequence[float]) -> float:
    return float(np.std(values, ddof=1)) if len(values) > 1 else math.nan
