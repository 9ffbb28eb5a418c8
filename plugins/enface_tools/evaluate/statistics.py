"""Intervals and tests whose unit is the person, because images of one person are not independent."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Outcome = Literal["better", "equivalent", "unclear", "worse", "none"]
"""Result of a comparison; ``none`` if a number is missing."""
CONFIDENCE = 0.95
MIN_PEOPLE = 5
"""Fewer people have no interval: their spread says too little about the people who were not seen."""

MAX_SKEWNESS = 0.7
"""Largest skewness of a mean that is removed, times Student's quantile; at 1 the long end would be unbounded."""

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class MeanEstimate:
    """A mean with its standard error.

    Attributes:
        mean: NaN without values.
        error: Standard error of the mean; NaN if it cannot be estimated.
        df: Degrees of freedom of the error, in (0, inf).
        skewness: Skewness of the mean's distribution, 0 if it is symmetric.
    """

    mean: float
    error: float
    df: float
    skewness: float = 0.0

    def interval(self, confidence: float = CONFIDENCE) -> tuple[float, float]:
        """Return the ends of the two-sided interval; NaN without an error.

        Student's t of Hall's monotone transformation, which removes the skewness: Hall, On the removal of skewness by
        transformation, Journal of the Royal Statistical Society B 54, 1992. Without skewness it is Student's interval;
        at most it is 14 % wider, because more of the skewness of a few people is no better known (see
        ``benchmarks/calibration.py``).
        """
        if math.isnan(self.error):
            return math.nan, math.nan
        from scipy import special

        reach = float(special.stdtrit(self.df, (1 + confidence) / 2))
        return self.mean - self.error * self._inverse(reach), self.mean - self.error * self._inverse(-reach)

    def p(self, null: float = 0.0) -> float:
        """Return the two-sided p of a mean of ``null``; it is below 0.05 if and only if the interval excludes it."""
        above = self.p_above(null)
        return 2 * min(above, 1 - above)

    def p_above(self, null: float) -> float:
        """Return the one-sided p against a mean of at most ``null``; small if the mean is above it."""
        if math.isnan(self.error):
            return math.nan
        distance = self.mean - null
        if self.error == 0:
            return 0.5 if distance == 0 else float(distance < 0)
        from scipy import special

        skewness, t = self._removed, distance / self.error
        a = skewness / 3
        return float(special.stdtr(self.df, -(t + a * t**2 + a**2 * t**3 / 3 + skewness / 6)))

    def p_below(self, null: float) -> float:
        """Return the one-sided p against a mean of at least ``null``; small if the mean is below it."""
        return 1 - self.p_above(null)

    def _inverse(self, value: float) -> float:
        """Invert Hall's transformation, t + a t^2 + a^2 t^3 / 3 + skewness / 6 with a = skewness / 3."""
        a, shifted = self._removed / 3, value - self._removed / 6
        return float((np.cbrt(1 + 3 * a * shifted) - 1) / a) if abs(a) > 1e-9 else shifted

    @property
    def _removed(self) -> float:
        """The part of the skewness that the interval accounts for."""
        from scipy import special

        most = MAX_SKEWNESS / float(special.stdtrit(self.df, (1 + CONFIDENCE) / 2))
        return min(max(self.skewness, -most), most)


NO_ESTIMATE = MeanEstimate(math.nan, math.nan, math.nan)


def mean_estimate(values: npt.NDArray[Any], identities: npt.NDArray[Any]) -> MeanEstimate:
    """The mean over images, with the error of drawing other people.

    Args:
        values: (N,); NaN (an image without the region) is ignored.
        identities: (N,), the person in each image.
    """
    return mean_estimates(np.asarray(values, np.float64)[:, None], identities)[0]


def mean_estimates(values: Floats, identities: npt.NDArray[Any]) -> list[MeanEstimate]:
    """:func:`mean_estimate` of several columns over the same images.

    Args:
        values: (N, K); NaN if an image has no number in a column.
        identities: (N,).
    """
    sums, sizes = per_identity(values, identities)
    return [over_people(person_values(*column)) for column in zip(sums.T, sizes.T, strict=True)]


def interval(values: npt.NDArray[Any], identities: npt.NDArray[Any]) -> tuple[float, float]:
    """The 95 % interval of the mean over images, with people as units; NaN with fewer than :data:`MIN_PEOPLE`.

    Args:
        values: (N,); NaN (an image without the region) is ignored.
        identities: (N,), the person in each image.
    """
    return mean_estimate(values, identities).interval()


def per_identity(values: Floats, identities: npt.NDArray[Any]) -> tuple[Floats, Floats]:
    """Sums and counts of each column's numbers per identity, in the order of their names: both (P, K)."""
    people, place = np.unique(identities.astype(str), return_inverse=True)
    present = ~np.isnan(values)
    sums, sizes = np.zeros((2, len(people), values.shape[1]))
    np.add.at(sums, place, np.where(present, values, 0))
    np.add.at(sizes, place, present)
    return sums, sizes


def person_values(sums: Floats, sizes: Floats) -> Floats:
    """Values of the people who have images, (P,), whose mean is the mean over all images.

    With equally many images of each person these are the people's means. Else a person's deviation from the mean counts
    as often as the person has images: the linearised ratio of sums and sizes (Cochran, Sampling Techniques, 1977, 6.4).

    Args:
        sums: (P,), of each person's numbers.
        sizes: (P,), how many these are.
    """
    sums, sizes = sums[sizes > 0], sizes[sizes > 0]
    if not len(sums):
        return sums
    mean = sums.sum() / sizes.sum()
    linearised: Floats = mean + (sums - mean * sizes) / sizes.mean()
    return linearised


def over_people(values: Floats) -> MeanEstimate:
    """The mean of the values of people, (P,), as an estimate for all people."""
    people = len(values)
    if people < MIN_PEOPLE:
        return MeanEstimate(float(values.mean()), math.nan, math.nan) if people else NO_ESTIMATE
    return MeanEstimate(
        float(values.mean()),
        float(values.std(ddof=1) / math.sqrt(people)),
        people - 1.0,
        third_moment(values) / math.sqrt(people),
    )


def third_moment(values: Floats) -> float:
    """The standardised third central moment of values; 0 if they are equal."""
    deviations = values - values.mean()
    spread = float(np.sqrt(np.mean(deviations**2)))
    # Equal values differ by rounding.
    return float(np.mean((deviations / spread) ** 3)) if spread > 1e-12 * float(np.abs(values).max()) else 0.0


def rank_biserial(differences: Floats) -> float:
    """The matched-pairs rank-biserial correlation, in [-1, 1]: 1 if all differences are positive. Zeros are dropped.

    Args:
        differences: (P,), one per person; NaN is ignored.

    Source:
        Kerby, The simple difference formula, Comprehensive Psychology 3, 2014: (W+ - W-) / (W+ + W-).
    """
    from scipy import stats

    finite = differences[np.isfinite(differences)]
    nonzero = finite[finite != 0]
    if not len(nonzero):
        return 0.0 if len(finite) else math.nan
    ranks = stats.rankdata(np.abs(nonzero))
    return float((ranks * np.sign(nonzero)).sum() / ranks.sum())


def cohens_dz(differences: Floats) -> float:
    """The mean of paired differences over their standard deviation (n - 1); NaN if that is 0.

    Source:
        Cohen, Statistical Power Analysis for the Behavioral Sciences, 1988.
    """
    finite = differences[np.isfinite(differences)]
    if len(finite) < 2:
        return math.nan
    deviation = finite.std(ddof=1)
    return float(finite.mean() / deviation) if deviation > 0 else math.nan


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values adjusted for multiple tests by Holm's step-down method; NaN is not counted as a test.

    Source:
        Holm, A simple sequentially rejective multiple test procedure, Scandinavian Journal of Statistics 6, 1979.
    """
    p = np.asarray(p_values, np.float64)
    order = np.argsort(np.where(np.isfinite(p), p, np.inf))[: int(np.isfinite(p).sum())]
    steps = p[order] * np.arange(len(order), 0, -1)
    p[order] = np.minimum(np.maximum.accumulate(steps), 1)
    return [float(value) for value in p]
