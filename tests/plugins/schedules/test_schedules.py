"""Schedules at their key steps."""

from __future__ import annotations

import pytest

from enface import RecipeError
from enface_plugins.schedules.constant import Constant
from enface_plugins.schedules.cosine import Cosine
from enface_plugins.schedules.linear import Linear
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
    ],
)
def test_key_steps(schedule, values):
    assert {step: schedule(step) for step in values} == pytest.approx(values)


def test_ends_are_exact():
    linear = Linear(start=0.1, end=0.7, over=3)
    assert (linear(0), linear(3), linear(99)) == (0.1, 0.7, 0.7)
    cosine = Cosine(start=0.1, end=0.7, over=3)
    assert (cosine(0), cosine(3)) == (0.1, 0.7)


def test_cosine_never_rises():
    values = [Cosine(start=1, over=50)(step) for step in range(60)]
    assert values == sorted(values, reverse=True)


def test_cosine_refuses_a_warmup_without_a_wave():
    with pytest.raises(RecipeError, match="warmup"):
        Cosine(start=1, over=10, warmup=10)
