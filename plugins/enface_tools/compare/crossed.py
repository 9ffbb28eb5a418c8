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

import numpy as np

from enface_tools.evaluate.statistics import (
    MIN_PEOPLE,
    NO_ESTIMATE,
    Floats,
    MeanEstimate,
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


def replicated_mean(values: Sequence[float]) -> MeanEstimate:
    """The mean of numbers of runs that each have their own people: their spread covers both."""
    numbers = np.asarray(values, np.float64)
    if len(numbers) < 2 or not np.isfinite(numbers).all():
        return MeanEstimate(float(numbers.mean()), math.nan, math.nan) if len(numbers) else NO_ESTIMATE
    return MeanEstimate(float(numbers.mean()), float(numbers.std(ddof=1) / math.sqrt(len(numbers))), len(numbers) - 1.0)


def _combined(people_values: Floats, layouts: Sequence[Layout]) -> MeanEstimate:
    """The mean of people's values, (P,), with an error for other people and other seeds."""
    people = len(people_values)
    from_people = float(people_values.var(ddof=1)) / people
    from_seeds = sum(layout.between / layout.seeds for layout in layouts)
    # The interaction is in both.
    counted_twice = sum(layout.residual / (layout.seeds * people) for layout in layouts)
    # Neither part alone may exceed the sum, as an estimate by subtraction can.
    variance = max(from_people + from_seeds - counted_twice, from_people, from_seeds)
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
