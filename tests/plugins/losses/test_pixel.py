"""L1, MSE and Charbonnier by hand."""

from __future__ import annotations

import pytest
import torch

from enface_plugins.losses.charbonnier import Charbonnier
from enface_plugins.losses.l1 import L1
from enface_plugins.losses.mse import MSE

OUTPUT = torch.tensor([[0.5, -1.0], [0.0, 1.0]]).reshape(1, 1, 2, 2)
TARGET = torch.tensor([[0.5, 1.0], [0.25, -0.5]]).reshape(1, 1, 2, 2)


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        (L1(), [0.0, 2.0, 0.25, 1.5]),
        (MSE(), [0.0, 4.0, 0.0625, 2.25]),
        # With eps 0.75: sqrt(0 + 0.5625), sqrt(4 + 0.5625), sqrt(0.0625 + 0.5625), sqrt(2.25 + 0.5625)
        (Charbonnier(eps=0.75), [0.75, 2.136001, 0.790569, 1.677051]),
    ],
)
def test_hand_worked_values(loss, expected):
    error = loss(OUTPUT, TARGET)
    assert error.shape == OUTPUT.shape
    torch.testing.assert_close(error.flatten(), torch.tensor(expected))
    torch.testing.assert_close(loss(TARGET, OUTPUT), error)


@pytest.mark.parametrize("loss", [L1(), MSE(), Charbonnier()])
def test_map_is_unreduced_and_gradient_is_zero_at_equality(loss):
    output = torch.linspace(-1, 1, 2 * 3 * 4 * 5).reshape(2, 3, 4, 5).requires_grad_()
    error = loss(output, output.detach().clone())
    assert error.shape == (2, 3, 4, 5)
    error.sum().backward()
    assert torch.equal(output.grad, torch.zeros_like(output))


def test_charbonnier_is_absolute_far_from_eps():
    error = Charbonnier(eps=1e-3)(OUTPUT, TARGET)
    torch.testing.assert_close(error, L1()(OUTPUT, TARGET), atol=1.1e-3, rtol=0)
    assert error.min() == pytest.approx(1e-3)
