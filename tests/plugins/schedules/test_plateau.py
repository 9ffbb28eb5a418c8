"""Plateau: it decays without improvement, and continues from its state."""

from __future__ import annotations

from enface_plugins.schedules.plateau import Plateau


def after(schedule, validations):
    """Return the schedule's value after each validation."""
    values = []
    for validation in validations:
        schedule.observe(validation)
        values.append(schedule(0))
    return values


def test_it_decays_after_more_than_patience_without_improvement():
    values = after(Plateau(start=1.0, metric="l1", patience=1), [5, 4, 4, 4, 4, 4, 3])
    assert values == [1, 1, 1, 0.5, 0.5, 0.25, 0.25]


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
    assert after(Plateau(start=1.0, metric="l1", patience=2), values) == expected


def test_it_continues_from_its_state():
    values = [5, 4, 4, 4, 4, 4, 3, 3, 3]
    whole = Plateau(start=1.0, metric="l1", patience=1)
    expected = after(whole, values)
    first, second = (Plateau(start=1.0, metric="l1", patience=1) for _ in range(2))
    first_values = after(first, values[:4])
    second.restore(first.state())
    assert first_values + after(second, values[4:]) == expected
