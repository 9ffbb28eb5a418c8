"""Both sides of the hinge loss by hand."""

from __future__ import annotations

import torch

from enface_plugins.losses.hinge import Hinge


def test_generator_side():
    fake = torch.tensor([-2.0, 0.0, 3.0], requires_grad=True)
    loss = Hinge()(fake)
    torch.testing.assert_close(loss, torch.tensor([2.0, 0.0, -3.0]))
    loss.sum().backward()
    assert torch.equal(fake.grad, torch.full((3,), -1.0))


def test_critic_side():
    real = torch.tensor([2.0, 0.0, -1.0, 0.5], requires_grad=True)
    fake = torch.tensor([-3.0, 0.0, 1.0, -0.5], requires_grad=True)
    loss = Hinge().critic(real, fake)
    torch.testing.assert_close(loss, torch.tensor([0.0, 2.0, 4.0, 1.0]))
    loss.sum().backward()
    # A critic that is confident and right gets no gradient.
    assert torch.equal(real.grad, torch.tensor([0.0, -1.0, -1.0, -1.0]))
    assert torch.equal(fake.grad, torch.tensor([0.0, 1.0, 1.0, 1.0]))


def test_maps_keep_their_shape():
    logits = torch.zeros(2, 1, 10, 10)
    assert Hinge()(logits).shape == Hinge().critic(logits, logits).shape == (2, 1, 10, 10)
