"""BatchNorm over all processes, compared with torch's over the whole batch."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from enface.training import sync_batchnorm as batchnorm
from enface.training.sync_batchnorm import SharedBatchNorm, synchronized


@pytest.fixture
def alone(monkeypatch):
    """A process group of one."""
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 1)
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda tensor: None)


@pytest.fixture
def twins(monkeypatch):
    """A process group of two that see the same images: a sum over processes is twice one's own."""
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 2)
    # Of what is sent between processes autograd knows nothing.
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda tensor: tensor.data.mul_(2))


def pair(shape, **options):
    """torch's norm, ours with its parameters, and an input for both."""
    torch.manual_seed(0)
    kind = nn.BatchNorm2d if len(shape) == 4 else nn.BatchNorm1d
    theirs = kind(shape[1], **options)
    if theirs.affine:
        nn.init.uniform_(theirs.weight, 0.5, 2)
        nn.init.uniform_(theirs.bias)
    ours = synchronized(theirs, torch.device("cpu"))
    assert isinstance(ours, SharedBatchNorm)
    return theirs, ours, torch.randn(shape) * 3 + 7


@pytest.mark.parametrize("shape", [(6, 3, 4, 5), (6, 3)])
@pytest.mark.parametrize("options", [{}, {"affine": False}, {"momentum": None}, {"momentum": 0.3, "eps": 0.1}])
def test_one_process_agrees_with_torch_in_values_gradients_and_statistics(alone, shape, options):
    theirs, ours, values = pair(shape, **options)
    first, second = values.clone().requires_grad_(), values.clone().requires_grad_()
    for _ in range(3):
        found, wanted = ours(second), theirs(first)
        torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)
    weigh = torch.randn(shape)
    (wanted * weigh).sum().backward()
    (found * weigh).sum().backward()
    torch.testing.assert_close(second.grad, first.grad, rtol=1e-4, atol=1e-5)
    for name, wanted in theirs.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], wanted, rtol=1e-5, atol=1e-6)


def test_two_processes_agree_with_the_doubled_batch(twins):
    theirs, ours, values = pair((4, 3, 5, 5))
    half, whole = values.clone().requires_grad_(), torch.cat([values, values]).requires_grad_()
    weigh = torch.randn(4, 3, 5, 5)
    found, wanted = ours(half), theirs(whole)
    torch.testing.assert_close(found, wanted[:4], rtol=1e-5, atol=1e-5)
    (found * weigh).sum().backward()
    (wanted * torch.cat([weigh, weigh])).sum().backward()
    torch.testing.assert_close(half.grad, whole.grad[:4], rtol=1e-4, atol=1e-5)
    # Unbiased over all eight images, as torch counts them.
    torch.testing.assert_close(ours.running_var, theirs.running_var, rtol=1e-5, atol=1e-6)


def test_a_second_derivative_over_two_processes_is_that_of_the_doubled_batch(twins):
    """As R1 asks for: the gradient of a gradient's size, by the images and by the weights."""
    theirs, ours, values = pair((4, 3, 5, 5))
    half, whole = values.clone().requires_grad_(), torch.cat([values, values]).requires_grad_()
    weigh = torch.randn(4, 3, 5, 5)
    for module, images, weights in ((ours, half, weigh), (theirs, whole, torch.cat([weigh, weigh]))):
        score = (torch.tanh(module(images)) * weights).sum()
        (gradient,) = torch.autograd.grad(score, images, create_graph=True)
        gradient.square().sum().backward()
    torch.testing.assert_close(half.grad, whole.grad[:4], rtol=1e-4, atol=1e-6)
    # Processes' gradients by the weights are added up where the step averages them.
    torch.testing.assert_close(2 * ours.weight.grad, theirs.weight.grad, rtol=1e-4, atol=1e-6)


def test_a_critic_gets_the_norm_that_has_a_second_derivative_on_a_gpu_too():
    cuda = torch.device("cuda")
    assert isinstance(synchronized(nn.BatchNorm2d(2), cuda, twice=True), SharedBatchNorm)
    assert isinstance(synchronized(nn.BatchNorm2d(2), cuda), nn.SyncBatchNorm)


def test_a_large_mean_costs_no_digits(alone):
    theirs, ours, values = pair((8, 3, 16, 16))
    torch.testing.assert_close(ours(values + 1000), theirs(values + 1000), rtol=1e-3, atol=1e-3)


def test_at_rest_it_uses_what_it_has_tracked_and_asks_no_one(monkeypatch):
    theirs, ours, values = pair((4, 3, 5, 5))
    monkeypatch.setattr(batchnorm, "_total", lambda value: pytest.fail("asked the others"))
    torch.testing.assert_close(ours.eval()(values), theirs.eval()(values))


def test_half_precision_in_is_half_precision_out(alone):
    _, ours, values = pair((4, 3, 5, 5))
    assert ours(values.bfloat16()).dtype == torch.bfloat16
    assert ours.running_mean.dtype == torch.float32


def test_every_norm_is_replaced_and_nothing_else():
    module = nn.ModuleDict(
        {"a": nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)), "b": nn.InstanceNorm2d(3), "c": nn.BatchNorm1d(2)}
    )
    module["c"].requires_grad_(False).eval()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    found = synchronized(module, torch.device("cpu"))
    kinds = [type(item) for item in found.modules()]
    assert kinds.count(SharedBatchNorm) == 2
    assert kinds.count(nn.InstanceNorm2d) == 1
    assert found["a"][1].training
    assert not found["c"].training
    assert not found["c"].weight.requires_grad
    assert found.state_dict().keys() == before.keys()
    assert all(torch.equal(value, before[name]) for name, value in found.state_dict().items())
