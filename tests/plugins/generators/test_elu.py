"""The fast ELU against torch's."""

import pytest
import torch
from torch.nn import functional

from enface_plugins.generators.elu import ELU


def inputs(dtype=torch.float32):
    values = torch.cat([torch.linspace(-30, 120, 4001), torch.tensor([0.0, -0.0, 1e-8, -1e-8, -1e4, 1e4])])
    return values.to(dtype).requires_grad_()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_values_and_gradients_are_torchs(dtype):
    here, there = inputs(dtype), inputs(dtype)
    fast, exact = ELU()(here), functional.elu(there)
    assert torch.allclose(fast, exact, rtol=1e-6, atol=1.2e-7)
    weights = torch.linspace(-1, 1, len(here)).to(dtype)
    (fast * weights).sum().backward()
    (exact * weights).sum().backward()
    assert torch.allclose(here.grad, there.grad, rtol=1e-6, atol=1.2e-7)


def test_small_values_keep_their_digits():
    values = -torch.logspace(-12, 0, 500)
    assert torch.allclose(ELU()(values), functional.elu(values), rtol=3e-7, atol=0)


def test_gradients_of_gradients_are_torchs():
    second_gradients = []
    for function in (ELU(), functional.elu):
        values = inputs()
        (first,) = torch.autograd.grad(function(values).square().sum(), values, create_graph=True)
        (second,) = torch.autograd.grad(first.sum(), values)
        second_gradients.append(second)
    assert torch.allclose(*second_gradients, rtol=1e-5, atol=1e-6)


def test_values_that_are_not_finite_stay_so():
    values = ELU()(torch.tensor([float("nan"), float("inf"), -float("inf")]))
    assert values[0].isnan()
    assert values[1:].tolist() == [float("inf"), -1.0]


def test_the_input_and_its_memory_format_are_kept():
    image = torch.randn(2, 3, 4, 5).contiguous(memory_format=torch.channels_last)
    before = image.clone()
    assert ELU()(image).is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(image, before)
