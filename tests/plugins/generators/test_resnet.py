"""The residual generator: the papers' sizes, reflection padding, features."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional

from enface import DataInfo, RecipeError
from enface_plugins.generators.resnet import Block, ReflectionPad, Resnet

OUTPUT = frozenset({"output"})


def build(size: int | tuple[int, int] = 32, **params) -> Resnet:
    torch.manual_seed(0)
    data = replace(DataInfo.square(size=64), size=(size, size) if isinstance(size, int) else size)
    return Resnet(data=data, **{"width": 4, **params})


@pytest.mark.parametrize(("size", "blocks", "millions"), [(256, 9, 11.378), (128, 6, 7.838)])
def test_the_papers_sizes(size, blocks, millions):
    # CycleGAN's own program prints these numbers. Built without storage, to be quick.
    with torch.device("meta"):
        network = build(size, width=64)
    assert len(network.blocks) == blocks
    assert sum(p.numel() for p in network.parameters()) / 1e6 == pytest.approx(millions, abs=0.0005)


@pytest.mark.parametrize("pixels", [1, 3])
def test_padding_is_torchs_reflection(pixels):
    image = torch.randn(2, 3, 5, 7, dtype=torch.float64, requires_grad=True)
    padded, expected = ReflectionPad(pixels)(image), functional.pad(image, [pixels] * 4, mode="reflect")
    assert torch.equal(padded, expected)
    weight = torch.randn_like(expected)
    gradients = [torch.autograd.grad((item * weight).sum(), image)[0] for item in (padded, expected)]
    torch.testing.assert_close(*gradients)


def test_a_block_adds_two_convolutions_of_its_input():
    torch.manual_seed(0)
    block, features = Block(4, "instance"), torch.randn(2, 4, 6, 6)
    convs = [module for module in block.modules() if isinstance(module, nn.Conv2d)]
    inner = features
    for conv in convs:
        padded = functional.pad(inner, [1] * 4, mode="reflect")
        inner = functional.instance_norm(functional.conv2d(padded, conv.weight, conv.bias))
        last, inner = inner, inner.relu()
    torch.testing.assert_close(block(features), features + last)


@pytest.mark.parametrize("norm", ["batch", "instance"])
@pytest.mark.parametrize("size", [8, 12, 96])
def test_every_parameter_learns(norm, size):
    network = build(size, norm=norm, blocks=2)
    source = torch.rand(2, 3, size, size) * 2 - 1
    output = network(OUTPUT, source=source)["output"]
    assert output.shape == source.shape
    assert output.abs().max() <= 1
    (output - torch.rand_like(output)).square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())
    assert any(isinstance(module, nn.BatchNorm2d) for module in network.modules()) == (norm == "batch")
    if norm == "batch":
        assert not any(module.bias is not None for module in network.encoder.modules() if isinstance(module, nn.Conv2d))


def test_features_are_the_encoders_layers_of_source_and_of_output():
    network = build().eval()
    source = torch.rand(2, 3, 32, 32) * 2 - 1
    outputs = network(frozenset({"features", "output_features", "output"}), source=source)
    assert [tuple(item.shape) for item in outputs["features"]] == [(2, 4, 32, 32), (2, 8, 16, 16), (2, 16, 8, 8)]
    of_output = network(frozenset({"features"}), source=outputs["output"])["features"]
    for one, other in zip(outputs["output_features"], of_output, strict=True):
        torch.testing.assert_close(one, other)
    (gradient,) = torch.autograd.grad(outputs["output_features"][0].sum(), network.decoder[-1][1].weight)
    assert gradient.any()


def test_computes_only_the_requested_names():
    network, calls = build(), []
    for name, part in network.parts.items():
        part.register_forward_hook(lambda *_, name=name: calls.append(name))
    assert network(frozenset()) == {}
    assert set(network(frozenset({"features"}), source=torch.zeros(2, 3, 32, 32))) == {"features"}
    assert calls == []
    assert set(network(OUTPUT, source=torch.zeros(2, 3, 32, 32))) == {"output"}
    assert calls == ["blocks", "decoder"]


@pytest.mark.parametrize(("size", "message"), [(4, "size: 4 use 5"), ((100, 3), r"size: \[100, 3\] use \[100, 5\]")])
def test_a_size_that_is_too_small_is_an_error_that_names_the_smallest(size, message):
    with pytest.raises(RecipeError, match=f"resnet needs images of at least 5 px; for {message}"):
        build(size)


def test_weights_and_outputs_at_multiples_stay_as_recorded():
    # Before sizes other than multiples were accepted: sum of the weights, sum of the output, one pixel.
    network = build(48, blocks=2)
    source = torch.rand(2, 3, 48, 48, generator=torch.Generator().manual_seed(1)) * 2 - 1
    output = network(OUTPUT, source=source)["output"].detach()
    assert sum(p.detach().double().sum().item() for p in network.parameters()) == pytest.approx(-3.54449, abs=1e-4)
    assert output.double().sum().item() == pytest.approx(-661.761274, abs=1e-2)
    assert output[0, 0, 3, 5].item() == pytest.approx(-0.08071, abs=1e-5)


@pytest.mark.parametrize("size", [(33, 47), (5, 6), (101, 64)])
def test_any_size(size):
    network = build(size)
    source = torch.rand(2, 3, *size) * 2 - 1
    provided = network(frozenset(network.provides), source=source)
    assert provided["output"].shape == source.shape
    height, width = size
    for name in ("features", "output_features"):
        assert [item.shape[2:] for item in provided[name]] == [
            (-(-height // factor), -(-width // factor)) for factor in (1, 2, 4)
        ]
    (provided["output"] - 1).square().sum().backward()
    assert all(p.grad.isfinite().all() for p in network.parameters())
    assert network.eval()(OUTPUT, source=torch.zeros(1, 3, 2, 3))["output"].shape == (1, 3, 2, 3)


def test_channels_last_and_autocast():
    network = build().to(memory_format=torch.channels_last)
    source = torch.randn(1, 3, 32, 32).to(memory_format=torch.channels_last)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = network(OUTPUT, source=source)["output"]
    assert output.is_contiguous(memory_format=torch.channels_last)
    assert output.isfinite().all()
