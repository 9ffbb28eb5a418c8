"""Schedules against torch.optim.lr_scheduler, step by step."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch.optim import Optimizer, lr_scheduler

from enface_plugins.schedules.cosine import Cosine
from enface_plugins.schedules.cyclic import Cyclic
from enface_plugins.schedules.exponential import Exponential
from enface_plugins.schedules.linear import Linear
from enface_plugins.schedules.multi_step import MultiStep
from enface_plugins.schedules.polynomial import Polynomial
from enface_plugins.schedules.step_decay import StepDecay

STEPS, LR = 80, 0.2


def rates(make: Callable[[Optimizer], lr_scheduler.LRScheduler]) -> list[float]:
    """Return torch's learning rates in the first steps."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=LR)
    scheduler = make(optimizer)
    values = []
    for _ in range(STEPS):
        values.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return values


@pytest.mark.parametrize(
    ("schedule", "make"),
    [
        (StepDecay(start=LR, every=7, factor=0.3), lambda o: lr_scheduler.StepLR(o, 7, gamma=0.3)),
        (
            MultiStep(start=LR, milestones=[5, 6, 40], factor=0.3),
            lambda o: lr_scheduler.MultiStepLR(o, [5, 6, 40], 0.3),
        ),
        (Exponential(start=LR, every=1, factor=0.97), lambda o: lr_scheduler.ExponentialLR(o, 0.97)),
        (Exponential(start=LR, every=10, factor=0.5), lambda o: lr_scheduler.ExponentialLR(o, 0.5**0.1)),
        (Linear(start=LR, end=LR / 4, over=50), lambda o: lr_scheduler.LinearLR(o, 1.0, 0.25, 50)),
        (Polynomial(start=LR, over=50, power=0.9), lambda o: lr_scheduler.PolynomialLR(o, 50, 0.9)),
        (Polynomial(start=LR, over=50, power=2), lambda o: lr_scheduler.PolynomialLR(o, 50, 2.0)),
        (Cyclic(low=0.01, high=LR, up=8), lambda o: lr_scheduler.CyclicLR(o, 0.01, LR, 8, cycle_momentum=False)),
        (
            Cyclic(low=0.01, high=LR, up=4, down=9, shrink=0.5),
            lambda o: lr_scheduler.CyclicLR(o, 0.01, LR, 4, 9, mode="triangular2", cycle_momentum=False),
        ),
    ],
)
def test_every_step_matches_torch(schedule, make):
    values = [schedule(step) for step in range(STEPS)]
    assert len(set(values)) > 3
    assert values == pytest.approx(rates(make), rel=1e-9, abs=1e-12)


def test_the_cosine_matches_torch_until_it_ends():
    # Torch's rises again after its end; this one stays there.
    schedule = Cosine(start=LR, end=0.01, over=STEPS)
    expected = rates(lambda o: lr_scheduler.CosineAnnealingLR(o, STEPS, 0.01))
    assert [schedule(step) for step in range(STEPS)] == pytest.approx(expected, rel=1e-9)
