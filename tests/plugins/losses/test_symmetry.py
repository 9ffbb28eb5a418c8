"""The symmetry loss by hand."""

from __future__ import annotations

import torch

from enface_plugins.losses.symmetry import Symmetry


def test_hand_worked_values():
    output = torch.tensor([[0.0, 0.5, 1.0], [0.25, -1.0, 0.25]]).reshape(1, 1, 2, 3)
    error = Symmetry()(output)
    assert torch.equal(error, torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 0.0]]).reshape(1, 1, 2, 3))


def test_its_mean_is_the_papers_over_the_left_half():
    output = torch.rand(2, 3, 5, 8, generator=torch.Generator().manual_seed(0))
    left = [(output[..., x] - output[..., 8 - 1 - x]).abs() for x in range(4)]
    torch.testing.assert_close(Symmetry()(output).mean(), torch.stack(left).mean())
    assert torch.equal(Symmetry()(output), Symmetry()(output.flip(-1)))


def test_a_symmetric_image_has_no_error_and_no_gradient():
    half = torch.rand(1, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    output = torch.cat([half, half.flip(-1)], 3).requires_grad_()
    error = Symmetry()(output)
    assert torch.equal(error, torch.zeros_like(output))
    error.sum().backward()
    assert torch.equal(output.grad, torch.zeros_like(output))


def test_it_pulls_both_sides_together():
    output = torch.tensor([[0.0, 1.0]]).reshape(1, 1, 1, 2).requires_grad_()
    Symmetry()(output).sum().backward()
    assert torch.equal(output.grad.flatten(), torch.tensor([-2.0, 2.0]))
