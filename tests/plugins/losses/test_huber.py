"""The Huber loss by hand and against torch's smooth L1."""

from __future__ import annotations

import torch
from torch.nn.functional import smooth_l1_loss

from enface_plugins.losses.huber import Huber

OUTPUT = torch.tensor([0.5, -1.0, 0.25, 1.0]).reshape(1, 1, 2, 2)
TARGET = torch.tensor([0.5, 1.0, 0.0, 0.5]).reshape(1, 1, 2, 2)  # differences 0, 2, 0.25, 0.5


def test_hand_worked_values():
    error = Huber(delta=0.5)(OUTPUT, TARGET)
    assert error.shape == OUTPUT.shape
    # 0, 0.5 * (2 - 0.25), 0.25^2 / 2, and at delta itself both forms: 0.5^2 / 2.
    torch.testing.assert_close(error.flatten(), torch.tensor([0.0, 0.875, 0.03125, 0.125]))
    torch.testing.assert_close(Huber(delta=0.5)(TARGET, OUTPUT), error)


def test_it_is_torchs_smooth_l1_times_delta():
    output, target = torch.rand(2, 2, 3, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1
    for delta in (0.1, 0.3):
        expected = smooth_l1_loss(output, target, reduction="none", beta=delta) * delta
        torch.testing.assert_close(Huber(delta=delta)(output, target), expected)


def test_the_gradient_is_the_difference_up_to_delta():
    output = OUTPUT.clone().requires_grad_()
    Huber(delta=0.4)(output, TARGET).sum().backward()
    torch.testing.assert_close(output.grad.flatten(), torch.tensor([0.0, -0.4, 0.25, 0.4]))
