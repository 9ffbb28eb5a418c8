"""Plateau: it decays without improvement, and continues from its state."""

from __future__ import annotations

import pytest

from enface_plugins.schedules.plateau import Plateau
from enface_tools.evaluate.direction import Direction

LOWER, HIGHER, IDEAL = Direction(False), Direction(True), Direction(False, ideal=1.0)


def after(schedule, validations, direction=LOWER):
    """Return the schedule's value after each validation."""
    values = []
    for validation in validations:
        schedule.observe(validation, direction.score(validation))
        values.append(schedule(0))
    return values


def test_it_decays_after_more_than_patience_without_improvement():
    values = after(Plateau(start=1.0, metric="mae", patience=1), [5, 4, 4, 4, 4, 4, 3])
    assert values == [1, 1, 1, 0.5, 0.5, 0.25, 0.25]


@pytest.mark.parametrize(
    ("metric", "direction", "improves", "worsens"),
    [
        ("lpips", LOWER, [0.4, 0.3, 0.2, 0.1], [0.1, 0.2, 0.3, 0.4]),
        ("ssim", HIGHER, [0.1, 0.2, 0.3, 0.4], [0.4, 0.3, 0.2, 0.1]),
        ("sharpness", IDEAL, [0.2, 1.7, 0.6, 1.1], [1.1, 0.6, 1.7, 0.2]),
    ],
)
def test_it_follows_the_metrics_direction(metric, direction, improves, worsens):
    def new():
        return Plateau(start=1.0, metric=metric, patience=0)

    assert after(new(), improves, direction) == [1, 1, 1, 1]
    assert after(new(), worsens, direction) == [1, 0.5, 0.25, 0.125]


def test_the_mode_overrides_the_metrics_direction():
    values = after(Plateau(start=1.0, metric="ssim", mode="min", patience=0), [0.1, 0.2, 0.3], HIGHER)
    assert values == [1, 0.5, 0.25]


def test_a_value_that_is_not_finite_is_no_improvement():
    schedule = Plateau(start=1.0, metric="mae", patience=0)
    assert after(schedule, [float("nan"), 0.3, 0.2]) == [0.5, 0.5, 0.5]
    assert schedule.state()["best"] == -0.2


def test_an_infinite_value_is_no_improvement():
    schedule = Plateau(start=1.0, metric="psnr", patience=0)
    assert after(schedule, [20.0, float("inf"), 30.0], HIGHER) == [1, 0.5, 0.5]


def test_higher_may_be_better_and_the_end_is_a_lower_bound():
    values = after(Plateau(start=1.0, metric="ssim", mode="max", patience=0, end=0.3), [0.1, 0.2, 0.2, 0.2, 0.2])
    assert values == [1, 1, 0.5, 0.3, 0.3]


def test_it_matches_torchs():
    import torch

    values = [5, 4, 4.2, 3.9, 3.95, 3.91, 3.9, 4, 3, 3, 3, 3.2, 2.9]
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=2)
    expected = []
    for value in values:
        scheduler.step(value)
        expected.append(optimizer.param_groups[0]["lr"])
    assert after(Plateau(start=1.0, metric="mae", patience=2), values) == expected


def test_it_continues_from_its_state():
    values = [5, 4, 4, 4, 4, 4, 3, 3, 3]
    whole = Plateau(start=1.0, metric="mae", patience=1)
    expected = after(whole, values)
    first, second = (Plateau(start=1.0, metric="mae", patience=1) for _ in range(2))
    first_values = after(first, values[:4])
    second.restore(first.state())
    assert first_values + after(second, values[4:]) == expected
