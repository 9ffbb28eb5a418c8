"""Means and differences of runs that differ in seeds, all measured on the same people.

Seeds and people are crossed random effects: the value of run s on person p is mu + a_s + b_p + e_sp. Analysis of
variance estimates their variances, and Satterthwaite's approximation the degrees of freedom of the sum. Its coverage is
measured by ``benchmarks/calibration.py``.

Sources:
    Searle, Casella and McCulloch, Variance Components, 1992 (moments of the two-way layout); Satterthwaite, An
    approximate distribution of estimates of variance components, Biometrics Bulletin 2, 1946.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from enface_tools.evaluate.statistics import (
    MIN_PEOPLE,
    NO_ESTIMATE,
    Floats,
    MeanEstimate,
    mean_estimate,
    over_people,
    third_moment,
)


@dataclass(frozen=True)
class Layout:
    """Variances of one recipe's runs on the same people.

    Attributes:
        seeds: Number of runs, at least 2.
        between: Variance of the runs' means, (n - 1).
        residual: Mean square of the interaction of runs and people.
    """

    seeds: int
    people: int
    between: float
    residual: float

    @classmethod
    def of(cls, values: Floats) -> Layout:
        """The layout of values of people, (S, P)."""
        seeds, people = values.shape
        rows, columns = values.mean(1, keepdims=True), values.mean(0, keepdims=True)
        interaction = values - rows - columns + values.mean()
        residual = float((interaction**2).sum() / ((seeds - 1) * (people - 1)))
        return cls(seeds, people, float(rows.var(ddof=1)), residual)

    @property
    def seed_variance(self) -> float:
        """Variance of the seed's effect, without that of measuring it on few people."""
        return max(self.between - self.residual / self.people, 0.0)


def crossed_mean(values: Floats) -> MeanEstimate:
    """The mean of one recipe over seeds and people.

    Args:
        values: (S, P), see :func:`enface_tools.evaluate.statistics.person_values`. One run has an error for other
            people only.
    """
    seeds, people = values.shape
    if seeds < 2 or people < MIN_PEOPLE:
        return over_people(values.mean(0)) if seeds else NO_ESTIMATE
    return _combined(values.mean(0), [Layout.of(values)])


def unpaired_difference(control: Floats, group: Floats) -> MeanEstimate:
    """The difference of two recipes whose runs have nothing in common but the people.

    Args:
        control: (S, P).
        group: (T, P). With one run on either side the error is for other people only.
    """
    difference = group.mean(0) - control.mean(0)
    if min(len(control), len(group)) < 2 or len(difference) < MIN_PEOPLE:
        return over_people(difference)
    return _combined(difference, [Layout.of(control), Layout.of(group)])


def paired_difference(control: Floats, group: Floats) -> MeanEstimate:
    """The difference of two recipes whose runs are pairs, because each pair starts from the same weights: (S, P)."""
    return crossed_mean(group - control)


def replicated_mean(runs: Sequence[tuple[Floats, npt.NDArray[Any]]]) -> MeanEstimate:
    """The mean of numbers of runs that each have their own people, as if each seed draws them from a larger set.

    The spread of the runs' means covers seeds and people, but not that runs may share people; the spread of all people
    does. The part that both contain is subtracted.

    Args:
        runs: Of each run the values, (N,), NaN if missing, and the person in each image. Runs without a number are
            ignored; a single one has no error.
    """
    estimates = [item for run in runs if not math.isnan((item := mean_estimate(*run)).mean)]
    if not estimates:
        return NO_ESTIMATE
    means = np.array([item.mean for item in estimates])
    pooled = mean_estimate(*(np.concatenate(part) for part in zip(*runs, strict=True)))
    if len(estimates) < 2 or math.isnan(pooled.error):
        return MeanEstimate(float(means.mean()), math.nan, math.nan)
    seeds, from_people = len(means), pooled.error**2
    from_seeds = float(means.var(ddof=1)) / seeds
    counted_twice = float(np.nansum([item.error**2 for item in estimates])) / seeds**2
    variance = _total(from_people, from_seeds, counted_twice)
    if variance == 0:
        return MeanEstimate(float(means.mean()), 0.0, seeds - 1.0)
    weights = from_people**2 / pooled.df + from_seeds**2 / (seeds - 1)
    df = max(variance**2 / weights, min(seeds - 1, pooled.df))
    return MeanEstimate(float(means.mean()), math.sqrt(variance), df)


@dataclass(frozen=True)
class Components:
    """Variances of a difference, to predict the error of a larger experiment.

    Attributes:
        seeds: Variance of the seed's effect, of each side; of pairs, one number.
        residuals: Variance of what is particular to one run on one person, likewise.
        people: Variance of the difference over people.
    """

    seeds: tuple[float, ...]
    residuals: tuple[float, ...]
    people: float

    @classmethod
    def of_pairs(cls, control: Floats, group: Floats) -> Components:
        """Of runs that are pairs, (S, P) each, S at least 2."""
        return cls._of([group - control], (group - control).mean(0))

    @classmethod
    def of_sides(cls, control: Floats, group: Floats) -> Components:
        """Of runs that only share the people, (S, P) and (T, P), at least 2 each."""
        return cls._of([control, group], group.mean(0) - control.mean(0))

    @classmethod
    def of_one(cls, values: Floats) -> Components:
        """Of two recipes that both vary as these runs do, (S, P), and differ equally on all people."""
        layout = Layout.of(values)
        return cls((layout.seed_variance,) * 2, (layout.residual,) * 2, 0.0)

    @classmethod
    def _of(cls, sides: Sequence[Floats], people_values: Floats) -> Components:
        layouts = [Layout.of(side) for side in sides]
        noise = sum(layout.residual / layout.seeds for layout in layouts)
        return cls(
            tuple(layout.seed_variance for layout in layouts),
            tuple(layout.residual for layout in layouts),
            max(float(people_values.var(ddof=1)) - noise, 0.0),
        )

    def predict(self, seeds: int, people: int) -> MeanEstimate:
        """The estimate to expect, with mean 0, from so many runs of each side (or pairs) and people."""
        residual = sum(self.residuals)
        parts = [
            ((variance + noise / people) / seeds, seeds - 1)
            for variance, noise in zip(self.seeds, self.residuals, strict=True)
        ]
        parts += [((self.people + residual / seeds) / people, people - 1)]
        counted_twice = residual / (seeds * people)
        variance = sum(part for part, _ in parts) - counted_twice
        if variance == 0:
            return MeanEstimate(0.0, 0.0, people - 1.0)
        weights = sum(part**2 / free for part, free in parts) + sum(
            (noise / (seeds * people)) ** 2 / ((seeds - 1) * (people - 1)) for noise in self.residuals
        )
        return MeanEstimate(0.0, math.sqrt(variance), max(variance**2 / weights, min(seeds, people) - 1))


def _combined(people_values: Floats, layouts: Sequence[Layout]) -> MeanEstimate:
    """The mean of people's values, (P,), with an error for other people and other seeds."""
    people = len(people_values)
    from_people = float(people_values.var(ddof=1)) / people
    from_seeds = sum(layout.between / layout.seeds for layout in layouts)
    # The interaction is in both.
    counted_twice = sum(layout.residual / (layout.seeds * people) for layout in layouts)
    variance = _total(from_people, from_seeds, counted_twice)
    if variance == 0:
        return MeanEstimate(float(people_values.mean()), 0.0, people - 1.0)
    weights = from_people**2 / (people - 1)
    for layout in layouts:
        free = layout.seeds - 1
        weights += (layout.between / layout.seeds) ** 2 / free
        weights += (layout.residual / (layout.seeds * people)) ** 2 / (free * (people - 1))
    fewest = min([people, *(layout.seeds for layout in layouts)]) - 1
    df = max(variance**2 / weights, fewest)
    deviations = people_values - people_values.mean()
    skewness = float(np.mean(deviations**3)) / people**2 / variance**1.5 if third_moment(people_values) else 0.0
    return MeanEstimate(float(people_values.mean()), math.sqrt(variance), df, skewness)


def _total(from_people: float, from_seeds: float, counted_twice: float) -> float:
    """The variance of two parts that overlap; neither alone may exceed it, as an estimate by subtraction can."""
    return max(from_people + from_seeds - counted_twice, from_people, from_seeds)
