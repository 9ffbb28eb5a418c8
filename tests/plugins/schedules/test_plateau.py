"""Plateau: it falls when nothing improves, and goes on from its state."""

from __future__ import annotations

from enface_plugins.schedules.plateau import Plateau


def after(schedule, values):
    found = []
    for value in values:
        schedule.observe(value)
        found.append(schedule(0))
    return found


def test_it_falls_after_more_than_patience_without_improvement():
    found = after(Plateau(start=1.0, metric="l1", patience=1), [5, 4, 4, 4, 4, 4, 3])
    assert found == [1, 1, 1, 0.5, 0.5, 0.25, 0.25]


def test_it_may_wait_for_higher_values_and_has_an_end():
    found = after(Plateau(start=1.0, metric="ssim", mode="max", patience=0, end=0.3), [0.1, 0.2, 0.2, 0.2, 0.2])
    assert found == [1, 1, 0.5, 0.3, 0.3]


def test_it_is_torchs():
    import torch

    values = [5, 4, 4.2, 3.9, 3.95, 3.91, 3.9, 4, 3, 3, 3, 3.2, 2.9]
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=2)
    wanted = []
    for value in values:
        theirs.step(value)
        wanted.append(optimizer.param_groups[0]["lr"])
    assert after(Plateau(start=1.0, metric="l1", patience=2), values) == wanted


def test_it_goes_on_from_its_state():
    values = [5, 4, 4, 4, 4, 4, 3, 3, 3]
    whole = Plateau(start=1.0, metric="l1", patience=1)
    wanted = after(whole, values)
    first, second = (Plateau(start=1.0, metric="l1", patience=1) for _ in range(2))
    begun = after(first, values[:4])
    second.restore(first.state())
    assert begun + after(second, values[4:]) == wanted
