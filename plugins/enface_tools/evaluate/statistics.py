"""Intervals and tests for images of people: one person's images are not independent of each other."""

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
# How many random numbers are held at once: 160 MB of them.
HELD = 20_000_000

Floats = npt.NDArray[np.float64]


def interval(values: npt.NDArray[Any], identities: npt.NDArray[Any], resamples: int, seed: int) -> tuple[float, float]:
    """The 95 % percentile interval of the mean, resampling identities: images of one person are not independent.

    Args:
        values: (N,); those that are NaN (an image without such a region) are left out.
        identities: (N,), whom each image shows.

    Returns:
        Both ends; NaN when no value is left.

    Source:
        Efron and Tibshirani, An Introduction to the Bootstrap, 1993 (percentile interval, cluster resampling).
    """
    low, high = intervals(np.asarray(values, np.float64)[:, None], identities, resamples, seed)[0]
    return float(low), float(high)


def intervals(values: Floats, identities: npt.NDArray[Any], resamples: int, seed: int) -> Floats:
    """:func:`interval` of several columns over the same images.

    Args:
        values: (N, K); NaN where an image has no number in that column.
        identities: (N,).

    Returns:
        (K, 2), NaN for a column without numbers.
    """
    found = np.full((values.shape[1], 2), np.nan)
    sums, sizes = per_identity(values, identities)
    # Columns over the same people share their draws.
    held = sizes > 0
    for people in np.unique(held, axis=1).T if held.size else ():
        columns = np.flatnonzero((held == people[:, None]).all(0))
        if people.any():
            found[columns] = _quantiles(sums[people][:, columns], sizes[people][:, columns], resamples, seed)
    return found


def per_identity(values: Floats, identities: npt.NDArray[Any]) -> tuple[Floats, Floats]:
    """Sums and counts of each column's numbers, a line an identity (in the order of their names): both (P, K)."""
    people, place = np.unique(identities.astype(str), return_inverse=True)
    there = ~np.isnan(values)
    sums, sizes = np.zeros((2, len(people), values.shape[1]))
    np.add.at(sums, place, np.where(there, values, 0))
    np.add.at(sizes, place, there)
    return sums, sizes


def _quantiles(sums: Floats, sizes: Floats, resamples: int, seed: int) -> Floats:
    """The interval's ends for each column: (K, 2)."""
    means = np.concatenate([(draws @ sums) / (draws @ sizes) for draws in _draws(len(sums), resamples, seed)])
    tail = (1 - CONFIDENCE) / 2
    ends: Floats = np.quantile(means, [tail, 1 - tail], axis=0).T
    return ends


def _draws(people: int, resamples: int, seed: int) -> Iterator[Floats]:
    """How often each person is drawn in each resample, some resamples at a time: (R, P)."""
    if people * resamples <= HELD:
        yield _kept_draws(people, resamples, seed)
        return
    rng = np.random.default_rng([seed, 5])
    step = max(HELD // people, 1)
    for start in range(0, resamples, step):
        yield _multinomial(rng, people, min(step, resamples - start))


@lru_cache(maxsize=2)
def _kept_draws(people: int, resamples: int, seed: int) -> Floats:
    return _multinomial(np.random.default_rng([seed, 5]), people, resamples)


def _multinomial(rng: np.random.Generator, people: int, resamples: int) -> Floats:
    return rng.multinomial(people, np.full(people, 1 / people), size=resamples).astype(np.float64)


@dataclass(frozen=True)
class SignedRank:
    """What ranks say of paired differences.

    Attributes:
        p: Two-sided, of the Wilcoxon signed-rank test; NaN without differences to rank.
        rank_biserial: The matched-pairs rank-biserial correlation, in [-1, 1].
    """

    p: float
    rank_biserial: float


def signed_rank(differences: Floats) -> SignedRank:
    """The Wilcoxon signed-rank test of paired differences, and its effect size. Zeros are dropped.

    Args:
        differences: (P,), one of each person; NaNs are left out.

    Source:
        Wilcoxon, Individual comparisons by ranking methods, Biometrics Bulletin 1, 1945; Kerby, The simple
        difference formula, Comprehensive Psychology 3, 2014: (W+ - W-) / (W+ + W-).
    """
    from scipy import stats

    there = differences[np.isfinite(differences)]
    moved = there[there != 0]
    if not len(moved):
        return SignedRank(1.0, 0.0) if len(there) else SignedRank(float("nan"), float("nan"))
    with warnings.catch_warnings():
        # A small sample with ties; its p is the best there is.
        warnings.simplefilter("ignore")
        p = float(stats.wilcoxon(moved).pvalue)
    ranks = stats.rankdata(np.abs(moved))
    return SignedRank(p, float((ranks * np.sign(moved)).sum() / ranks.sum()))


def least_p(people: int) -> float:
    """The smallest p that the signed-rank test of so many people can give."""
    return float(min(1.0, 2.0 ** (1 - people)))


def cohens_dz(differences: Floats) -> float:
    """The mean of paired differences over their standard deviation (n - 1); NaN where they do not differ.

    Source:
        Cohen, Statistical Power Analysis for the Behavioral Sciences, 1988.
    """
    there = differences[np.isfinite(differences)]
    if len(there) < 2:
        return float("nan")
    spread = there.std(ddof=1)
    return float(there.mean() / spread) if spread > 0 else float("nan")


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values adjusted for being several, by Holm's step-down method; a NaN stays one and is no test.

    Source:
        Holm, A simple sequentially rejective multiple test procedure, Scandinavian Journal of Statistics 6, 1979.
    """
    from statsmodels.stats.multitest import multipletests

    p = np.asarray(p_values, np.float64)
    tested = np.isfinite(p)
    if tested.any():
        p[tested] = multipletests(p[tested], method="holm")[1]
    return [float(value) for value in p]
