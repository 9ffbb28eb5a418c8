"""Intervals and tests that account for the dependence between images of one person."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Outcome = Literal["better", "unclear", "worse", "none"]
"""Result of a comparison; ``none`` if a number is missing."""
CONFIDENCE = 0.95
# Random numbers in memory at a time: 160 MB.
MAX_NUMBERS = 20_000_000

Floats = npt.NDArray[np.float64]


def interval(values: npt.NDArray[Any], identities: npt.NDArray[Any], resamples: int, seed: int) -> tuple[float, float]:
    """The 95 % percentile interval of the mean, resampling identities instead of images.

    Args:
        values: (N,); NaN (an image without the region) is ignored.
        identities: (N,), the person in each image.

    Returns:
        Both ends; NaN without values.

    Source:
        Efron and Tibshirani, An Introduction to the Bootstrap, 1993 (percentile interval, cluster resampling).
    """
    low, high = intervals(np.asarray(values, np.float64)[:, None], identities, resamples, seed)[0]
    return float(low), float(high)


def intervals(values: Floats, identities: npt.NDArray[Any], resamples: int, seed: int) -> Floats:
    """:func:`interval` of several columns over the same images.

    Args:
        values: (N, K); NaN if an image has no number in a column.
        identities: (N,).

    Returns:
        (K, 2), NaN for a column without numbers.
    """
    ends = np.full((values.shape[1], 2), np.nan)
    sums, sizes = per_identity(values, identities)
    # Columns over the same people share their draws.
    present = sizes > 0
    for people in np.unique(present, axis=1).T if present.size else ():
        columns = np.flatnonzero((present == people[:, None]).all(0))
        if people.any():
            ends[columns] = _quantiles(sums[people][:, columns], sizes[people][:, columns], resamples, seed)
    return ends


def per_identity(values: Floats, identities: npt.NDArray[Any]) -> tuple[Floats, Floats]:
    """Sums and counts of each column's numbers per identity, in the order of their names: both (P, K)."""
    people, place = np.unique(identities.astype(str), return_inverse=True)
    present = ~np.isnan(values)
    sums, sizes = np.zeros((2, len(people), values.shape[1]))
    np.add.at(sums, place, np.where(present, values, 0))
    np.add.at(sizes, place, present)
    return sums, sizes


def _quantiles(sums: Floats, sizes: Floats, resamples: int, seed: int) -> Floats:
    """Ends of the interval of each column: (K, 2)."""
    means = np.concatenate([(draws @ sums) / (draws @ sizes) for draws in _draws(len(sums), resamples, seed)])
    tail = (1 - CONFIDENCE) / 2
    ends: Floats = np.quantile(means, [tail, 1 - tail], axis=0).T
    return ends


def _draws(people: int, resamples: int, seed: int) -> Iterator[Floats]:
    """Counts of each person in each resample, some resamples at a time: (R, P)."""
    if people * resamples <= MAX_NUMBERS:
        yield _cached_draws(people, resamples, seed)
        return
    rng = np.random.default_rng([seed, 5])
    step = max(MAX_NUMBERS // people, 1)
    for start in range(0, resamples, step):
        yield _multinomial(rng, people, min(step, resamples - start))


@lru_cache(maxsize=2)
def _cached_draws(people: int, resamples: int, seed: int) -> Floats:
    return _multinomial(np.random.default_rng([seed, 5]), people, resamples)


def _multinomial(rng: np.random.Generator, people: int, resamples: int) -> Floats:
    return rng.multinomial(people, np.full(people, 1 / people), size=resamples).astype(np.float64)


@dataclass(frozen=True)
class SignedRank:
    """Result of a signed-rank test.

    Attributes:
        p: Two-sided, of the Wilcoxon signed-rank test; NaN without differences.
        rank_biserial: The matched-pairs rank-biserial correlation, in [-1, 1].
    """

    p: float
    rank_biserial: float


def signed_rank(differences: Floats) -> SignedRank:
    """The Wilcoxon signed-rank test of paired differences, and its effect size. Zeros are dropped.

    Args:
        differences: (P,), one per person; NaN is ignored.

    Source:
        Wilcoxon, Individual comparisons by ranking methods, Biometrics Bulletin 1, 1945; Kerby, The simple
        difference formula, Comprehensive Psychology 3, 2014: (W+ - W-) / (W+ + W-).
    """
    from scipy import stats

    finite = differences[np.isfinite(differences)]
    nonzero = finite[finite != 0]
    if not len(nonzero):
        return SignedRank(1.0, 0.0) if len(finite) else SignedRank(float("nan"), float("nan"))
    with warnings.catch_warnings():
        # scipy warns that p is approximate for a small sample with ties.
        warnings.simplefilter("ignore")
        p = float(stats.wilcoxon(nonzero).pvalue)
    ranks = stats.rankdata(np.abs(nonzero))
    return SignedRank(p, float((ranks * np.sign(nonzero)).sum() / ranks.sum()))


def least_p(people: int) -> float:
    """The smallest possible p of the signed-rank test with this number of people."""
    return float(min(1.0, 2.0 ** (1 - people)))


def cohens_dz(differences: Floats) -> float:
    """The mean of paired differences over their standard deviation (n - 1); NaN if that is 0.

    Source:
        Cohen, Statistical Power Analysis for the Behavioral Sciences, 1988.
    """
    finite = differences[np.isfinite(differences)]
    if len(finite) < 2:
        return float("nan")
    deviation = finite.std(ddof=1)
    return float(finite.mean() / deviation) if deviation > 0 else float("nan")


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values adjusted for multiple tests by Holm's step-down method; NaN is not counted as a test.

    Source:
        Holm, A simple sequentially rejective multiple test procedure, Scandinavian Journal of Statistics 6, 1979.
    """
    from statsmodels.stats.multitest import multipletests

    p = np.asarray(p_values, np.float64)
    tested = np.isfinite(p)
    if tested.any():
        p[tested] = multipletests(p[tested], method="holm")[1]
    return [float(value) for value in p]
