"""Schedules at their key steps."""

from __future__ import annotations

import pytest

from enface import Constant, RecipeError
from enface_plugins.schedules.cosine import Cosine
from enface_plugins.schedules.cyclic import Cyclic
from enface_plugins.schedules.exponential import Exponential
from enface_plugins.schedules.linear import Linear
from enface_plugins.schedules.multi_step import MultiStep
from enface_plugins.schedules.piecewise import Piecewise
from enface_plugins.schedules.polynomial import Polynomial
from enface_plugins.schedules.step_decay import StepDecay


@pytest.mark.parametrize(
    ("schedule", "values"),
    [
        (Constant(value=3), {0: 3, 10**6: 3}),
        (Linear(start=1, end=3, over=10), {0: 1, 1: 1.2, 5: 2, 10: 3, 11: 3, 10**6: 3}),
        (Linear(start=1, end=0, over=4, begin=100), {0: 1, 100: 1, 101: 0.75, 102: 0.5, 104: 0, 200: 0}),
        (StepDecay(start=8, every=20), {0: 8, 19: 8, 20: 4, 39: 4, 40: 2}),
        (StepDecay(start=1, every=1, factor=0.1), {0: 1, 1: 0.1, 2: 0.01}),
        (Cosine(start=2, over=100), {0: 2, 25: 1 + 0.5**0.5, 50: 1, 100: 0, 101: 0, 10**6: 0}),
        (Cosine(start=2, end=4, over=100), {0: 2, 50: 3, 100: 4}),
        (Cosine(start=5, end=1, over=14, warmup=4), {0: 1, 1: 2, 3: 4, 4: 5, 9: 3, 14: 1, 15: 1}),
        (MultiStep(start=8, milestones=[10, 30], factor=0.5), {0: 8, 9: 8, 10: 4, 29: 4, 30: 2, 10**6: 2}),
        (MultiStep(start=1, milestones=[1]), {0: 1, 1: 0.1, 2: 0.1}),
        (Exponential(start=8, every=20), {0: 8, 10: 32**0.5, 20: 4, 40: 2, 10**7: 0}),
        (Exponential(start=3, every=1, factor=1), {0: 3, 10**7: 3}),
        (Polynomial(start=4, over=10, power=2), {0: 4, 5: 1, 9: 0.04, 10: 0, 11: 0, 10**6: 0}),
        (Polynomial(start=4, end=2, over=100, power=0.5), {0: 4, 75: 3, 100: 2, 101: 2}),
        (Cyclic(low=1, high=3, up=4), {0: 1, 1: 1.5, 4: 3, 6: 2, 8: 1, 12: 3, 8 * 10**6: 1}),
        (Cyclic(low=0, high=8, up=2, down=4, shrink=0.5), {0: 0, 2: 8, 3: 6, 5: 2, 6: 0, 8: 4, 14: 2, 15: 1.5}),
        (Piecewise(points={10: 2, 30: 4, 40: 0}), {0: 2, 10: 2, 15: 2.5, 30: 4, 35: 2, 40: 0, 10**6: 0}),
        (Piecewise(points={40: 0, 10: 2, 30: 4}, between="steps"), {0: 2, 10: 2, 29: 2, 30: 4, 39: 4, 40: 0}),
        (Piecewise(points={5: 7}), {0: 7, 5: 7, 6: 7}),
    ],
)
def test_key_steps(schedule, values):
    assert {step: schedule(step) for step in values} == pytest.approx(values)


def test_ends_are_exact():
    linear = Linear(start=0.1, end=0.7, over=3)
    assert (linear(0), linear(3), linear(99)) == (0.1, 0.7, 0.7)
    cosine = Cosine(start=0.1, end=0.7, over=3)
    assert (cosine(0), cosine(3)) == (0.1, 0.7)
    polynomial = Polynomial(start=0.1, end=0.7, over=3)
    assert (polynomial(0), polynomial(3)) == (0.1, 0.7)
    cyclic = Cyclic(low=0.1, high=0.7, up=3, down=7)
    assert (cyclic(0), cyclic(3), cyclic(10), cyclic(13)) == (0.1, 0.7, 0.1, 0.7)
    piecewise = Piecewise(points={0: 0.1, 3: 0.7, 7: 0.3})
    assert (piecewise(0), piecewise(3), piecewise(7)) == (0.1, 0.7, 0.3)


def test_cosine_never_rises():
    values = [Cosine(start=1, over=50)(step) for step in range(60)]
    assert values == sorted(values, reverse=True)


def test_a_cosine_without_steps_after_the_warmup_is_an_error():
    with pytest.raises(RecipeError, match="warmup"):
        Cosine(start=1, over=10, warmup=10)


@pytest.mark.parametrize("milestones", [[20, 10], [10, 10]])
def test_milestones_that_do_not_ascend_are_an_error(milestones):
    with pytest.raises(RecipeError, match=f"milestones must be ascending, not {milestones[0]}, 10"):
        MultiStep(start=1, milestones=milestones)


def test_a_cycle_with_low_above_high_is_an_error():
    with pytest.raises(RecipeError, match=r"low \(2\) must not be above high \(1\)"):
        Cyclic(low=2, high=1, up=5)


@pytest.mark.parametrize(
    ("schedule", "key", "problem"),
    [
        ({"use": "multi_step", "start": 1, "milestones": []}, "milestones", "at least 1 item"),
        ({"use": "multi_step", "start": 1, "milestones": [0, 5]}, "milestones.0", "greater than or equal to 1"),
        ({"use": "exponential", "start": 1, "every": 5, "factor": 1.5}, "factor", "less than or equal to 1"),
        ({"use": "polynomial", "start": 1, "over": 5, "power": 0}, "power", "greater than 0"),
        ({"use": "cyclic", "low": 0, "high": 1, "up": 0}, "up", "greater than or equal to 1"),
        ({"use": "piecewise", "points": {}}, "points", "at least 1 item"),
        ({"use": "piecewise", "points": {-1: 0}}, "points.-1", "greater than or equal to 0"),
        ({"use": "piecewise", "points": {0: 0, 5: "x"}}, "points.5", "valid number"),
        ({"use": "piecewise", "points": {0: 0}, "between": "cubic"}, "between", "'line' or 'steps'"),
    ],
)
def test_a_value_out_of_range_is_an_error_that_names_the_key(enface, recipe, schedule, key, problem):
    path = recipe({"stages": {"main": {"optimizer": {"lr": schedule}}}})
    outcome = enface("check", path)
    assert outcome.code == 2
    assert f"lr.{key}" in outcome.err
    assert problem in outcome.err
