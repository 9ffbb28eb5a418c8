"""Intervals, tests and effect sizes: hand-worked numbers, those of scipy, and coverage by simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from enface_tools.evaluate.statistics import (
    MeanEstimate,
    cohens_dz,
    holm,
    interval,
    mean_estimate,
    mean_estimates,
    over_people,
    person_values,
    rank_biserial,
)

PEOPLE = np.array(list("aabbccddee"))


def test_symmetric_people_have_students_interval():
    values = np.array([-2.0, -1.0, 0.0, 1.0, 2.0]).repeat(2) + 7
    expected = stats.t.interval(0.95, 4, loc=7, scale=np.std([-2, -1, 0, 1, 2], ddof=1) / math.sqrt(5))
    assert interval(values, PEOPLE) == pytest.approx(expected)


def test_a_skewed_mean_has_halls_interval():
    """Hall 1992: the interval's ends solve t + a t^2 + a^2 t^3 / 3 + skewness / 6 = -/+ Student's quantile."""
    people = np.array([0.0, 0.2, 0.3, 0.5, 0.8, 1.2])
    n = len(people)
    skewness = float(stats.skew(people)) / math.sqrt(n)
    error = people.std(ddof=1) / math.sqrt(n)
    low, high = over_people(people).interval()
    for end, quantile in ((low, 0.975), (high, 0.025)):
        t = (people.mean() - end) / error
        transformed = t + skewness / 3 * t**2 + (skewness / 3) ** 2 * t**3 / 3 + skewness / 6
        assert transformed == pytest.approx(stats.t.ppf(quantile, n - 1))
    assert high - people.mean() > people.mean() - low, "the long tail is on the right"


def test_a_single_outlier_does_not_blow_up_the_interval():
    """Hall's interval is unbounded as skewness times the quantile nears 1; 0.7 of it makes it 14 % wider."""
    people = np.array([0.0] * 19 + [1.0]) + np.linspace(0, 0.1, 20)
    low, high = over_people(people).interval()
    first, last = stats.t.interval(0.95, 19, loc=people.mean(), scale=people.std(ddof=1) / math.sqrt(20))
    assert 1 < (high - low) / (last - first) < 1.15
    assert MeanEstimate(0.0, 1.0, 9.0, 4.0).interval() == MeanEstimate(0.0, 1.0, 9.0, 2.0).interval()


@pytest.mark.parametrize("skewness", [0.0, 0.4, -0.7])
def test_p_is_below_five_percent_exactly_if_the_interval_excludes_the_value(skewness):
    item = MeanEstimate(1.0, 0.4, 6.0, skewness)
    low, high = item.interval()
    for end in (low, high):
        assert item.p(end) == pytest.approx(0.05)
    assert item.p(low - 0.01) < 0.05 < item.p(low + 0.01)
    assert item.p_above(low) + item.p_below(low) == pytest.approx(1)
    ninety = item.interval(0.9)
    assert item.p_above(ninety[0]) == pytest.approx(0.05)
    assert item.p_below(ninety[1]) == pytest.approx(0.05)


def test_without_skewness_p_is_that_of_students_test():
    values = np.array([0.3, -0.1, 0.4, 0.2, -0.2, 0.6, 0.1])
    item = MeanEstimate(values.mean(), values.std(ddof=1) / math.sqrt(7), 6)
    assert item.p() == pytest.approx(stats.ttest_1samp(values, 0).pvalue)


def test_few_people_have_a_mean_and_no_interval():
    values = np.array([1.0, 2.0, 3.0, 4.0])
    item = mean_estimate(values, np.array(list("abcd")))
    assert item.mean == 2.5
    assert all(map(math.isnan, (*item.interval(), item.p())))
    assert math.isnan(mean_estimate(np.array([5.0]), np.array(["a"])).interval()[0])
    assert not math.isnan(interval(np.arange(5.0), np.array(list("abcde")))[0])


def test_equal_people_have_an_interval_of_no_width():
    item = over_people(np.full(6, 0.1))
    assert item.interval() == pytest.approx((0.1, 0.1), abs=1e-12)
    assert item.p(0.3) < 1e-9
    assert MeanEstimate(0.0, 0.0, 5.0).p() == 1
    assert MeanEstimate(0.2, 0.0, 5.0).p() == 0


def test_a_column_without_numbers_has_no_estimate():
    values = np.stack([np.arange(10.0), np.full(10, np.nan)], 1)
    some, none = mean_estimates(values, PEOPLE)
    assert some.mean == 4.5
    assert all(map(math.isnan, (none.mean, *none.interval(), none.p())))


def test_missing_numbers_are_ignored():
    values = np.arange(10.0)
    values[3] = np.nan
    kept = ~np.isnan(values)
    assert mean_estimate(values, PEOPLE) == mean_estimate(values[kept], PEOPLE[kept])


def test_people_with_more_images_count_more():
    """The linearised ratio, by hand: mean 3, sizes 1 and 3 (mean 2): 3 + (6 - 3) / 2 and 3 + (6 - 9) / 2."""
    assert person_values(np.array([6.0, 6.0, 0.0]), np.array([1.0, 3.0, 0.0])).tolist() == [4.5, 1.5]
    values, people = np.array([6.0, 1.0, 2.0, 3.0]), np.array(list("abbb"))
    assert mean_estimate(values, people).mean == values.mean()


@pytest.mark.parametrize(("people", "draw"), [(8, "normal"), (16, "normal"), (16, "exponential"), (67, "exponential")])
def test_the_interval_covers_as_often_as_it_claims(people, draw):
    rng = np.random.default_rng(people)
    truth = {"normal": 0.0, "exponential": 1.0}[draw]
    ends = [
        over_people(getattr(rng, draw)(size=people) if draw == "exponential" else rng.normal(size=people)).interval()
        for _ in range(1500)
    ]
    covered = np.mean([low <= truth <= high for low, high in ends])
    assert 0.93 <= covered <= 0.97


def test_rank_biserial_by_hand():
    # Ranks 1, 2, 3, 4: those of gains sum to 7, that of the loss is 3.
    assert rank_biserial(np.array([1.0, 2.0, -3.0, 4.0])) == pytest.approx((7 - 3) / 10)
    some = np.array([0.5, 0.3, -0.1, 0.7])
    assert rank_biserial(np.concatenate([some, np.zeros(3), [np.nan]])) == rank_biserial(some)
    assert rank_biserial(np.zeros(5)) == 0
    assert math.isnan(rank_biserial(np.array([np.nan])))
    gains = np.array([0.1, 3.0, 0.2, 0.2])
    assert rank_biserial(gains) == 1
    assert rank_biserial(-gains) == -1


def test_d_z_by_hand():
    assert cohens_dz(np.array([1.0, 2.0, 3.0, np.nan])) == pytest.approx(2.0)
    assert math.isnan(cohens_dz(np.array([1.0])))
    assert math.isnan(cohens_dz(np.array([0.25, 0.25])))


def test_holm_by_hand():
    # Smallest times 3, next times 2, and none below the one before it; a NaN is no test.
    assert holm([0.01, math.nan, 0.04, 0.03]) == pytest.approx([0.03, math.nan, 0.06, 0.06], nan_ok=True)
    assert holm([0.9, 0.8]) == pytest.approx([1.0, 1.0])
    assert holm([]) == []
