"""The contrastive loss by hand."""

from __future__ import annotations

import pytest
import torch

from enface_plugins.losses.contrastive import Contrastive

A = torch.tensor([[0.0, 0.0], [0.0, 0.0], [3.0, 4.0]])
B = torch.tensor([[0.6, 0.8], [0.6, 0.8], [0.0, 0.0]])  # distances 1, 1, 5


@pytest.mark.parametrize("dtype", [torch.bool, torch.float32])
def test_hand_worked_values(dtype):
    same = torch.tensor([1, 0, 1]).to(dtype)
    loss = Contrastive()(A, B, same)
    assert loss.shape == (3,)
    torch.testing.assert_close(loss, torch.tensor([1.0, (2 - 1) ** 2, 25.0]))
    torch.testing.assert_close(Contrastive(margin=1.5)(A, B, same), torch.tensor([1.0, 0.25, 25.0]))
    torch.testing.assert_close(Contrastive()(B, A, same), loss)


def test_other_pairs_beyond_the_margin_are_not_pushed():
    a = A.clone().requires_grad_()
    loss = Contrastive()(a, B, torch.zeros(3))
    assert loss[2] == 0
    loss[2].backward()
    assert torch.equal(a.grad, torch.zeros_like(A))


def test_codes_are_flattened():
    a, b = torch.zeros(2, 3, 4, 4), torch.full((2, 3, 4, 4), 0.5)
    torch.testing.assert_close(Contrastive()(a, b, torch.ones(2)), torch.tensor([12.0, 12.0]))


@pytest.mark.parametrize("same", [0.0, 1.0])
def test_gradient_is_finite_at_equality(same):
    a = torch.ones(2, 5, requires_grad=True)
    loss = Contrastive()(a, torch.ones(2, 5), torch.full((2,), same))
    loss.sum().backward()
    torch.testing.assert_close(loss.detach(), torch.full((2,), 4 * (1 - same)))
    assert torch.equal(a.grad, torch.zeros(2, 5))


def test_gradients_pull_matching_pairs_and_push_others():
    for same, sign in ((1.0, 1), (0.0, -1)):
        a = torch.tensor([[1.0]], requires_grad=True)
        Contrastive()(a, torch.tensor([[0.5]]), torch.tensor([same])).sum().backward()
        assert a.grad.item() * sign > 0
