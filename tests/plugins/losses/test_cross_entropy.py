"""Cross-entropy by hand."""

from __future__ import annotations

import math

import torch

from enface_plugins.losses.cross_entropy import CrossEntropy


def test_hand_worked_values():
    # Softmax of (0, log 3) is (1/4, 3/4); even logits over two classes give log 2.
    logits = torch.tensor([[0.0, math.log(3)], [0.0, math.log(3)], [5.0, 5.0]])
    loss = CrossEntropy()(logits, torch.tensor([0, 1, 1]))
    assert loss.shape == (3,)
    torch.testing.assert_close(loss, torch.tensor([math.log(4), math.log(4 / 3), math.log(2)]))


def test_gradient_is_softmax_minus_the_label():
    logits = torch.tensor([[0.0, math.log(3)]], requires_grad=True)
    CrossEntropy()(logits, torch.tensor([0])).sum().backward()
    torch.testing.assert_close(logits.grad, torch.tensor([[-0.75, 0.75]]))


def test_large_logits_stay_finite():
    loss = CrossEntropy()(torch.tensor([[1e4, -1e4]]), torch.tensor([1]))
    torch.testing.assert_close(loss, torch.tensor([2e4]))
