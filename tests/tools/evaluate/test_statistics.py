"""Intervals, tests and effect sizes: hand-worked numbers, and those of scipy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from enface_tools.evaluate import statistics
from enface_tools.evaluate.statistics import cohens_dz, holm, interval, intervals, least_p, signed_rank


def test_columns_together_are_columns_one_by_one():
    rng = np.random.default_rng(0)
    people = np.repeat([f"p{number}" for number in range(12)], 5)
    values = rng.normal(size=(60, 4))
    values[rng.random((60, 4)) < 0.2] = np.nan
    values[people == "p3", 2] = np.nan
    ends = intervals(values, people, 500, 7)
    for column in range(4):
        there = ~np.isnan(values[:, column])
        assert tuple(ends[column]) == pytest.approx(interval(values[there, column], people[there], 500, 7), rel=1e-12)


def test_a_column_without_numbers_has_no_interval_and_no_columns_have_none():
    people = np.array(["a", "b"])
    ends = intervals(np.array([[1.0, np.nan], [3.0, np.nan]]), people, 200, 0)
    assert ends[0].tolist() == [1.0, 3.0]
    assert np.isnan(ends[1]).all()
    assert intervals(np.empty((2, 0)), people, 200, 0).shape == (0, 2)
    assert all(map(math.isnan, interval(np.full(2, np.nan), people, 200, 0)))


def test_draws_in_pieces_are_the_same_draws(monkeypatch):
    people, values = np.arange(30).repeat(2), np.random.default_rng(1).normal(size=60)
    whole = interval(values, people, 1000, 3)
    monkeypatch.setattr(statistics, "MAX_NUMBERS", 30 * 7)
    assert interval(values, people, 1000, 3) == pytest.approx(whole, rel=1e-12)


def test_signed_ranks_by_hand():
    # Ranks 1, 2, 3, 4: those of gains sum to 7, that of the loss is 3.
    result = signed_rank(np.array([1.0, 2.0, -3.0, 4.0]))
    assert result.rank_biserial == pytest.approx((7 - 3) / 10)
    # Of 16 equally likely patterns of signs, 7 have a sum of 3 or less on the smaller side, and as many mirrored.
    below = sum(sum(rank for rank in range(1, 5) if bits >> (rank - 1) & 1) <= 3 for bits in range(16))
    assert result.p == pytest.approx(2 * below / 16)


@pytest.mark.parametrize("count", [6, 20, 80])
def test_signed_ranks_are_scipys(count):
    values = np.random.default_rng(count).normal(0.3, 1, count)
    values[0] = np.nan
    assert signed_rank(values).p == stats.wilcoxon(values[1:]).pvalue


def test_zeros_say_nothing_and_nothing_says_less():
    some = np.array([0.5, 0.3, -0.1, 0.7])
    assert signed_rank(np.concatenate([some, np.zeros(3)])) == signed_rank(some)
    assert signed_rank(np.zeros(5)) == statistics.SignedRank(1.0, 0.0)
    empty = signed_rank(np.array([np.nan]))
    assert math.isnan(empty.p)
    assert math.isnan(empty.rank_biserial)


def test_everyone_gaining_is_one_and_everyone_losing_minus_one():
    values = np.array([0.1, 3.0, 0.2, 0.2])
    assert signed_rank(values).rank_biserial == 1
    assert signed_rank(-values).rank_biserial == -1


@pytest.mark.parametrize("people", [1, 5, 6, 12])
def test_the_least_p_is_that_of_everyone_gaining(people):
    assert least_p(people) == pytest.approx(stats.wilcoxon(np.arange(1.0, people + 1)).pvalue)
    assert (least_p(people) < 0.05) == (people >= 6)


def test_d_z_by_hand():
    assert cohens_dz(np.array([1.0, 2.0, 3.0, np.nan])) == pytest.approx(2.0)
    assert math.isnan(cohens_dz(np.array([1.0])))
    assert math.isnan(cohens_dz(np.array([0.25, 0.25])))


def test_holm_by_hand():
    # Smallest times 3, next times 2, and none below the one before it; a NaN is no test.
    assert holm([0.01, math.nan, 0.04, 0.03]) == pytest.approx([0.03, math.nan, 0.06, 0.06], nan_ok=True)
    assert holm([0.9, 0.8]) == pytest.approx([1.0, 1.0])
    assert holm([]) == []
