"""Differences between paired groups: means, intervals, tests, effect sizes and outcomes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from enface_tools.compare.pairing import Pairing
from enface_tools.compare.quantities import Quantity
from enface_tools.evaluate.statistics import Outcome, cohens_dz, holm, intervals, per_identity, signed_rank
from enface_tools.report.numbers import label_key

ALPHA = 0.05
RESAMPLES = 10_000
# Of very many people, more resamples are slow and change nothing: 1000 of 100,000 people.
MAX_DRAWS, MIN_RESAMPLES = 100_000_000, 1_000
SEED = 0

Rows = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class MeanInterval:
    """A mean with the ends of its interval; NaN if undefined."""

    mean: float
    low: float
    high: float

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
        difference: Group minus control, of values or of distances to the ideal.
        by_seed: Mean difference of each matched seed.
        p, p_adjusted: Signed-rank test on the mean differences of people.
        rank_biserial, d_z: Effect sizes, positive if the group is better.
    """

    quantity: Quantity
    images: int
    missing: int
    identities: int
    control: float
    group: float
    difference: MeanInterval
    by_seed: Mapping[int, float]
    p: float
    p_adjusted: float
    rank_biserial: float
    d_z: float

    @property
    def gain(self) -> MeanInterval:
        """The difference, positive if the group is better."""
        return self.difference if self.quantity.sign > 0 else -self.difference

    @property
    def outcome(self) -> Outcome:
        """``better`` or ``worse`` if clear, else ``unclear``; ``none`` without numbers.

        A clear outcome needs an interval without 0, an adjusted p below 0.05, and ranks that agree with the mean.
        """
        if np.isnan(self.difference.mean):
            return "none"
        mean = self.gain.mean
        if not self.difference.excludes_zero or not self.p_adjusted < ALPHA or mean * self.rank_biserial <= 0:
            return "unclear"
        return "better" if mean > 0 else "worse"


@dataclass(frozen=True)
class SubsetResults:
    """Results on the images with one value of a label."""

    column: str
    value: str
    images: int
    identities: int
    results: list[QuantityResult]


def resamples(people: int) -> int:
    """Return the number of bootstrap resamples of so many people."""
    return min(RESAMPLES, max(MIN_RESAMPLES, MAX_DRAWS // max(people, 1)))


def compare_quantities(pairing: Pairing, quantities: Sequence[Quantity]) -> list[QuantityResult]:
    """Compare every quantity over all shared images; p is adjusted for all of them together."""
    return adjusted(_results(pairing, quantities, np.ones(len(pairing.about), bool)))


def compare_subsets(pairing: Pairing, quantities: Sequence[Quantity], column: str) -> list[SubsetResults]:
    """Compare every quantity inside each value of a label; p is adjusted for all values and quantities together."""
    values = pairing.about[column].to_numpy()
    subsets = []
    for value in sorted(set(values), key=label_key):
        rows = values == value
        identities = int(pairing.about["identity"][rows].nunique())
        subsets.append(SubsetResults(column, value, int(rows.sum()), identities, _results(pairing, quantities, rows)))
    family = iter(adjusted([result for subset in subsets for result in subset.results]))
    return [replace(subset, results=[next(family) for _ in subset.results]) for subset in subsets]


def adjusted(family: Sequence[QuantityResult]) -> list[QuantityResult]:
    """Return results with p adjusted for their number."""
    p_values = holm([result.p for result in family])
    return [replace(result, p_adjusted=p) for result, p in zip(family, p_values, strict=True)]


def bootstrap_intervals(values: pd.DataFrame, identities: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Return the interval of each column's mean, NaN if fewer than two people have a number.

    Args:
        values: (N, K).
        identities: (N,).

    Returns:
        (K, 2).
    """
    numbers = values.to_numpy(np.float64)
    ends = intervals(numbers, identities, resamples(len(set(identities))), SEED)
    _, sizes = per_identity(numbers, identities)
    ends[(sizes > 0).sum(0) < 2] = np.nan
    return ends


def _results(pairing: Pairing, quantities: Sequence[Quantity], rows: Rows) -> list[QuantityResult]:
    """Compare every quantity over some rows; p is not adjusted yet."""
    identities = pairing.about["identity"].to_numpy()[rows]
    differences = pairing.difference[rows]
    ends = bootstrap_intervals(differences, identities)
    sums, sizes = per_identity(differences.to_numpy(), identities)
    with np.errstate(invalid="ignore"):
        person_means = sums / sizes
    results = []
    for place, quantity in enumerate(quantities):
        name = quantity.name
        images = int(differences[name].notna().sum())
        gains = person_means[:, place] * quantity.sign
        test = signed_rank(gains)
        low, high = ends[place]
        results.append(
            QuantityResult(
                quantity,
                images=images,
                missing=len(differences) - images,
                identities=int((sizes[:, place] > 0).sum()),
                control=float(pairing.control[name][rows].mean()),
                group=float(pairing.group[name][rows].mean()),
                difference=MeanInterval(float(differences[name].mean()), float(low), float(high)),
                by_seed={seed: float(frame[name][rows].mean()) for seed, frame in pairing.by_seed.items()},
                p=test.p,
                p_adjusted=test.p,
                rank_biserial=test.rank_biserial,
                d_z=cohens_dz(gains),
            )
        )
    return results
