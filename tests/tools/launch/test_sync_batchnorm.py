"""BatchNorm over all processes, compared with torch's over the whole batch."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from enface_tools.launch import sync_batchnorm as batchnorm
from enface_tools.launch.sync_batchnorm import SharedBatchNorm, synchronized


@pytest.fixture
def alone(monkeypatch):
    """A process group of one."""
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 1)
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda tensor: None)


@pytest.fixture
def twins(monkeypatch):
    """A process group of two with the same images: a sum over processes is twice the process's own."""
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 2)
    # Through .data, because autograd does not see what all_reduce changes.
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda tensor: tensor.data.mul_(2))


def pair(shape, **options):
    """torch's norm, the synchronized one with the same parameters, and an input for both."""
    torch.manual_seed(0)
    kind = nn.BatchNorm2d if len(shape) == 4 else nn.BatchNorm1d
    reference = kind(shape[1], **options)
    if reference.affine:
        nn.init.uniform_(reference.weight, 0.5, 2)
        nn.init.uniform_(reference.bias)
    shared = synchronized(reference, torch.device("cpu"))
    assert isinstance(shared, SharedBatchNorm)
    return reference, shared, torch.randn(shape) * 3 + 7


@pytest.mark.parametrize("shape", [(6, 3, 4, 5), (6, 3)])
@pytest.mark.parametrize("options", [{}, {"affine": False}, {"momentum": None}, {"momentum": 0.3, "eps": 0.1}])
def test_one_process_agrees_with_torch_in_values_gradients_and_statistics(alone, shape, options):
    reference, shared, values = pair(shape, **options)
    first, second = values.clone().requires_grad_(), values.clone().requires_grad_()
    for _ in range(3):
        output, expected = shared(second), reference(first)
        torch.testing.assert_close(output, expected, rtol=1e-5, atol=1e-5)
    weights = torch.randn(shape)
    (expected * weights).sum().backward()
    (output * weights).sum().backward()
    torch.testing.assert_close(second.grad, first.grad, rtol=1e-4, atol=1e-5)
    for name, value in reference.state_dict().items():
        torch.testing.assert_close(shared.state_dict()[name], value, rtol=1e-5, atol=1e-6)


def test_two_processes_agree_with_the_doubled_batch(twins):
    reference, shared, values = pair((4, 3, 5, 5))
    half, whole = values.clone().requires_grad_(), torch.cat([values, values]).requires_grad_()
    weights = torch.randn(4, 3, 5, 5)
    output, expected = shared(half), reference(whole)
    torch.testing.assert_close(output, expected[:4], rtol=1e-5, atol=1e-5)
    (output * weights).sum().backward()
    (expected * torch.cat([weights, weights])).sum().backward()
    torch.testing.assert_close(half.grad, whole.grad[:4], rtol=1e-4, atol=1e-5)
    # Unbiased over all eight images.
    torch.testing.assert_close(shared.running_var, reference.running_var, rtol=1e-5, atol=1e-6)


def test_a_second_derivative_over_two_processes_is_that_of_the_doubled_batch(twins):
    """As in R1: the gradient of a gradient norm, by the images and by the weights."""
    reference, shared, values = pair((4, 3, 5, 5))
    half, whole = values.clone().requires_grad_(), torch.cat([values, values]).requires_grad_()
    weights = torch.randn(4, 3, 5, 5)
    for module, images, factor in ((shared, half, weights), (reference, whole, torch.cat([weights, weights]))):
        score = (torch.tanh(module(images)) * factor).sum()
        (gradient,) = torch.autograd.grad(score, images, create_graph=True)
        gradient.square().sum().backward()
    torch.testing.assert_close(half.grad, whole.grad[:4], rtol=1e-4, atol=1e-6)
    # The step adds up the gradients of all processes.
    torch.testing.assert_close(2 * shared.weight.grad, reference.weight.grad, rtol=1e-4, atol=1e-6)


def test_a_critic_on_a_gpu_has_a_twice_differentiable_norm():
    cuda = torch.device("cuda")
    assert isinstance(synchronized(nn.BatchNorm2d(2), cuda, twice=True), SharedBatchNorm)
    assert isinstance(synchronized(nn.BatchNorm2d(2), cuda), nn.SyncBatchNorm)


def test_a_large_mean_costs_no_precision(alone):
    reference, shared, values = pair((8, 3, 16, 16))
    torch.testing.assert_close(shared(values + 1000), reference(values + 1000), rtol=1e-3, atol=1e-3)


def test_in_eval_mode_it_uses_running_statistics_without_communication(monkeypatch):
    reference, shared, values = pair((4, 3, 5, 5))
    monkeypatch.setattr(batchnorm, "_total", lambda value: pytest.fail("communicates"))
    torch.testing.assert_close(shared.eval()(values), reference.eval()(values))


def test_the_output_has_the_precision_of_the_input(alone):
    _, shared, values = pair((4, 3, 5, 5))
    assert shared(values.bfloat16()).dtype == torch.bfloat16
    assert shared.running_mean.dtype == torch.float32


def test_every_norm_is_replaced_and_nothing_else():
    module = nn.ModuleDict(
        {"a": nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)), "b": nn.InstanceNorm2d(3), "c": nn.BatchNorm1d(2)}
    )
    module["c"].requires_grad_(False).eval()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    replaced = synchronized(module, torch.device("cpu"))
    kinds = [type(item) for item in replaced.modules()]
    assert kinds.count(SharedBatchNorm) == 2
    assert kinds.count(nn.InstanceNorm2d) == 1
    assert replaced["a"][1].training
    assert not replaced["c"].training
    assert not replaced["c"].weight.requires_grad
    assert replaced.state_dict().keys() == before.keys()
    assert all(torch.equal(value, before[name]) for name, value in replaced.state_dict().items())
