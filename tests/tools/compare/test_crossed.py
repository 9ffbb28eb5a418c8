"""Means and differences over seeds and people: hand-worked analyses of variance, statsmodels, and simulations."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from enface_tools.compare.crossed import (
    Layout,
    crossed_mean,
    paired_difference,
    replicated_mean,
    unpaired_difference,
)
from enface_tools.evaluate.statistics import over_people

# Means of runs 5 and 7, of people 4, 5, 6, 9 and 6; interactions 0, 1, -1, 0, 0 and their opposites.
GROUP = np.array([[3.0, 5, 4, 8, 5], [5, 5, 8, 10, 7]])
# Means of runs 2 and 2, of people 1, 2, 2, 2 and 3; interactions 0, 0, -1, 0, 1 and their opposites.
CONTROL = np.array([[1.0, 2, 1, 2, 4], [1, 2, 3, 2, 2]])


def test_variances_by_hand():
    """Mean squares: of runs 5 * 2, of the interaction (2 * 2) / (1 * 4)."""
    layout = Layout.of(GROUP)
    assert (layout.seeds, layout.people, layout.between, layout.residual) == (2, 5, 2.0, 1.0)
    assert layout.seed_variance == pytest.approx(2 - 1 / 5)
    assert Layout.of(CONTROL).seed_variance == 0, "runs of equal means differ by chance only"


def test_a_mean_by_hand():
    """Mean squares 10 of runs, 2 * 3.5 of people, 1 of both: the mean's variance is (10 + 7 - 1) / 10."""
    item = crossed_mean(GROUP)
    assert item.mean == 6
    assert item.error == pytest.approx(math.sqrt(1.6))
    # Satterthwaite: with 1, 4 and 4 degrees of freedom.
    assert item.df == pytest.approx(16**2 / (10**2 / 1 + 7**2 / 4 + 1**2 / 4))
    # Third central moment of people: (-8 - 1 + 27) / 5.
    assert item.skewness == pytest.approx(3.6 / 25 / 1.6**1.5)


def test_an_unpaired_difference_by_hand():
    """People's differences 3, 3, 4, 7, 3 with variance 3; runs add 2 / 2 and 0 / 2; interactions 1 / 10 each."""
    item = unpaired_difference(CONTROL, GROUP)
    variance = 3 / 5 + 1 + 0 - 0.2
    assert item.mean == 4
    assert item.error == pytest.approx(math.sqrt(variance))
    assert item.df == pytest.approx(variance**2 / (0.6**2 / 4 + 1**2 / 1 + 2 * 0.1**2 / 4))


def test_a_paired_difference_by_hand():
    """Differences of runs 3 and 5, of people as without pairs, interactions 0, 1, 0, 0, -1 and their opposites."""
    item = paired_difference(CONTROL, GROUP)
    variance = 3 / 5 + 2 / 2 - 1 / 10
    assert item.mean == 4
    assert item.error == pytest.approx(math.sqrt(variance))
    assert item.df == pytest.approx(variance**2 / (0.6**2 / 4 + 1**2 / 1 + 0.1**2 / 4))


def test_mean_squares_agree_with_statsmodels():
    from statsmodels.formula.api import ols
    from statsmodels.stats.anova import anova_lm

    rng = np.random.default_rng(0)
    runs, people = 4, 9
    values = rng.normal(size=(runs, 1)) + rng.normal(size=people) + rng.normal(size=(runs, people))
    run, person = np.indices(values.shape)
    table = pd.DataFrame({"value": values.ravel(), "run": run.ravel(), "person": person.ravel()})
    squares = anova_lm(ols("value ~ C(run) + C(person)", table).fit())["mean_sq"]
    of_runs, of_people, of_both = squares["C(run)"], squares["C(person)"], squares["Residual"]
    item = crossed_mean(values)
    total = of_runs + of_people - of_both
    assert Layout.of(values).residual == pytest.approx(of_both)
    assert item.error == pytest.approx(math.sqrt(total / (runs * people)))
    assert item.df == pytest.approx(total**2 / (of_runs**2 / 3 + of_people**2 / 8 + of_both**2 / 24))


def test_a_variance_is_never_below_that_of_people_or_of_seeds():
    """A large interaction makes the subtraction too large: the mean squares are 0 of runs, 0.1 of people, 5 of both."""
    values = np.array([[1.0, -1, 2, -2, 0.5], [-1, 1, -2, 2, 0.5]])
    item = crossed_mean(values)
    assert item.error == pytest.approx(values.mean(0).std(ddof=1) / math.sqrt(5))


def test_one_run_has_the_error_over_people_only():
    assert crossed_mean(GROUP[:1]) == over_people(GROUP[0])
    assert unpaired_difference(CONTROL, GROUP[:1]) == over_people(GROUP[0] - CONTROL.mean(0))


@pytest.mark.parametrize("people", [1, 2, 4])
def test_few_people_have_no_error(people):
    for item in (
        crossed_mean(GROUP[:, :people]),
        unpaired_difference(CONTROL[:, :people], GROUP[:, :people]),
        paired_difference(CONTROL[:, :people], GROUP[:, :people]),
        replicated_mean([(run[:people], np.arange(people)) for run in GROUP]),
    ):
        assert math.isfinite(item.mean)
        assert all(map(math.isnan, (*item.interval(), item.p())))


def test_nothing_has_no_mean():
    nothing = np.empty((2, 0))
    for item in (crossed_mean(nothing), replicated_mean([]), replicated_mean([(np.full(6, np.nan), np.arange(6))] * 2)):
        assert all(map(math.isnan, (item.mean, *item.interval(), item.p(), item.p_above(0), item.p_below(0))))


def test_equal_numbers_have_no_width_and_equal_sides_no_difference():
    item = crossed_mean(np.full((3, 6), 0.5))
    assert item.interval() == (0.5, 0.5)
    same = paired_difference(GROUP, GROUP)
    assert (same.mean, same.error, same.p()) == (0, 0, 1)


def test_replicated_people_by_hand():
    """Means 1, 2 and 6 have variance 7; the people of a run have variance 0.25, which is part of it."""
    spread = np.array([-0.5, -0.5, 0, 0.5, 0.5])
    runs = [(mean + spread, np.arange(5) + 10 * place) for place, mean in enumerate((1.0, 2.0, 6.0))]
    item = replicated_mean(runs)
    of_people = np.concatenate([values for values, _ in runs]).var(ddof=1) / 15
    within = 3 * (0.25 / 5) / 9
    variance = 7 / 3 + of_people - within
    assert item.mean == 3
    assert item.error == pytest.approx(math.sqrt(variance))
    assert item.df == pytest.approx(max(variance**2 / (of_people**2 / 14 + (7 / 3) ** 2 / 2), 2))


def test_a_run_without_numbers_is_ignored_and_one_has_no_error():
    people = np.arange(6)
    first, second = (np.arange(6.0) + shift for shift in (0, 1))
    runs = [(first, people), (second, people + 10)]
    empty = (np.full(6, np.nan), people)
    assert replicated_mean([*runs, empty]) == replicated_mean(runs)
    alone = replicated_mean([runs[0], empty])
    assert alone.mean == 2.5
    assert math.isnan(alone.error)


# ---------------------------------------------------------------------- simulations


def runs_of(rng, seeds, people, *, seed=0.5, interaction=0.5):
    """Values of runs on people, (S, P), for people given by their own values (P,)."""
    noise = rng.normal(0, interaction, (seeds, len(people)))
    return rng.normal(0, seed, (seeds, 1)) + people + noise


def coverage(draw, times=700):
    """Share of intervals that contain the true mean of 0."""
    ends = [draw().interval() for _ in range(times)]
    return np.mean([low <= 0 <= high for low, high in ends])


@pytest.mark.parametrize(("seeds", "people"), [(3, 16), (5, 13), (10, 67)])
def test_intervals_cover_as_often_as_they_claim(seeds, people):
    rng = np.random.default_rng(10 * seeds + people)
    mean = coverage(lambda: crossed_mean(runs_of(rng, seeds, rng.normal(size=people))))
    assert 0.93 <= mean <= 0.98

    def difference():
        shared, own = rng.normal(size=people), rng.normal(0, 0.3, people)
        return unpaired_difference(runs_of(rng, seeds, shared), runs_of(rng, seeds, shared + own))

    assert 0.93 <= coverage(difference) <= 0.98


def test_equal_recipes_whose_seeds_differ_seldom_get_a_verdict():
    """The seed's effect is as large as the interval over people, which alone would find a difference often."""
    rng = np.random.default_rng(1)
    people = 16
    crossed, over_people_only = [], []
    for _ in range(700):
        control, group = np.split(runs_of(rng, 6, rng.normal(size=people), seed=0.3, interaction=0.3), 2)
        crossed.append(unpaired_difference(control, group).p() < 0.05)
        over_people_only.append(over_people(group.mean(0) - control.mean(0)).p() < 0.05)
    assert np.mean(crossed) <= 0.06
    assert np.mean(over_people_only) >= 0.4


def test_pairs_that_share_a_start_need_fewer_seeds():
    rng = np.random.default_rng(2)
    start = rng.normal(0, 1.0, (4, 1))
    control, group = (start + runs_of(rng, 4, np.zeros(16), seed=0.1, interaction=0.1) for _ in range(2))
    assert paired_difference(control, group).error < unpaired_difference(control, group).error / 3


@pytest.mark.parametrize("pool", [None, 40])
@pytest.mark.parametrize("seed", [0.0, 0.3])
def test_runs_with_people_of_their_own_are_covered_also_if_they_share_some(pool, seed):
    """With 5 x 16 people drawn from 40, the spread of the runs alone would be too small: it covers 75 and 88 %."""
    rng = np.random.default_rng(3)

    def draw():
        count = pool or 5 * 16
        values = rng.normal(size=count)
        order = rng.permutation(count)
        chosen = [rng.choice(count, 16, replace=False) if pool else order[16 * run : 16 * run + 16] for run in range(5)]
        return replicated_mean([(runs_of(rng, 1, values[who], seed=seed, interaction=0.3)[0], who) for who in chosen])

    assert 0.93 <= coverage(draw, 500) <= 0.99


def test_without_skewness_the_interval_is_students():
    values = np.array([[-2.0, -1, 0, 1, 2], [0, 1, 2, 3, 4]])
    item = crossed_mean(values)
    assert item.skewness == 0
    assert item.interval() == pytest.approx(stats.t.interval(0.95, item.df, item.mean, item.error))
