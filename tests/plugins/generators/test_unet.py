"""The U-Net: shapes, depth, skips."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from enface import DataInfo, RecipeError
from enface_plugins.generators.unet import Unet

OUTPUT = frozenset({"output"})


def build(size: int, **params) -> Unet:
    torch.manual_seed(0)
    return Unet(data=DataInfo.square(size=size), **params)


@pytest.mark.parametrize(("size", "depth"), [(24, 3), (32, 5), (64, 6), (96, 5), (128, 7), (224, 5), (256, 7)])
def test_default_depth_and_shapes(size, depth):
    network = build(size, width=4)
    assert len(network.encoder.levels) == depth
    source = torch.rand(1, 3, size, size) * 2 - 1
    activations = network.encoder(source)
    assert [tuple(a.shape[1:]) for a in activations] == [
        (4 * min(2**level, 8), size >> level + 1, size >> level + 1) for level in range(depth)
    ]
    output = network(OUTPUT, source=source)["output"]
    assert output.shape == source.shape
    assert output.abs().max() <= 1


@pytest.mark.parametrize("norm", ["batch", "instance"])
@pytest.mark.parametrize("depth", [2, 3, 6])
def test_explicit_depth_and_norm_train(depth, norm):
    network = build(64, width=4, depth=depth, norm=norm, dropout=0.5)
    network(OUTPUT, source=torch.randn(2, 3, 64, 64))["output"].square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())
    kind = nn.BatchNorm2d if norm == "batch" else nn.InstanceNorm2d
    assert sum(isinstance(module, kind) for module in network.modules()) == 2 * depth - 3


def test_paper_size():
    # pix2pix's generator for 256 px: 54.4 M parameters. Built without storage, to be quick.
    with torch.device("meta"):
        network = build(256, depth=8, norm="batch")
    assert sum(p.numel() for p in network.parameters()) == pytest.approx(54.4e6, abs=0.05e6)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"size": 100}, "multiple of 8; for size: 100 use 96 or 104"),
        ({"size": 96, "depth": 6}, "64 or 128"),
        ({"size": 32, "depth": 6}, "use 64"),
    ],
)
def test_a_wrong_size_is_an_error_that_names_the_nearest_right_ones(params, message):
    with pytest.raises(RecipeError, match=message):
        build(**params)


def test_skips_carry_every_level():
    network = build(32, width=4).eval()
    activations = network.encoder(torch.randn(1, 3, 32, 32))
    for activation in activations:
        activation.retain_grad()
    network.decoder(activations).sum().backward()
    assert all(activation.grad.abs().sum() > 0 for activation in activations)


def test_dropout_is_in_three_layers_and_only_in_training():
    network = build(128, width=4, dropout=0.5)
    assert sum(isinstance(module, nn.Dropout) for module in network.decoder.modules()) == 3
    assert not any(isinstance(module, nn.Dropout) for module in build(128, width=4).modules())
    source = torch.randn(1, 3, 128, 128)
    assert not torch.equal(network(OUTPUT, source=source)["output"], network(OUTPUT, source=source)["output"])
    network.eval()
    assert torch.equal(network(OUTPUT, source=source)["output"], network(OUTPUT, source=source)["output"])


def test_computes_only_the_requested_names():
    network = build(32, width=4)
    assert network(frozenset()) == {}
    assert set(network.parts) == {"encoder", "decoder"}


def test_channels_last_and_autocast():
    network = build(32, width=4).to(memory_format=torch.channels_last)
    source = torch.randn(1, 3, 32, 32).to(memory_format=torch.channels_last)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = network(OUTPUT, source=source)["output"]
    assert output.is_contiguous(memory_format=torch.channels_last)
    assert output.isfinite().all()
