"""The U-Net: shapes, any size, depth, skips, attention."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest
import torch
from torch import nn

from enface import DataInfo, RecipeError
from enface_plugins.generators.attention import SelfAttention
from enface_plugins.generators.unet import Unet

OUTPUT = frozenset({"output"})


def build(size: int | tuple[int, int], **params) -> Unet:
    torch.manual_seed(0)
    data = replace(DataInfo.square(size=64), size=(size, size) if isinstance(size, int) else size)
    return Unet(data=data, **{"width": 4, **params})


def translate(network: Unet, *size: int) -> torch.Tensor:
    source = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(1)) * 2 - 1
    return network(OUTPUT, source=source)["output"]


def attentions(network: nn.Module) -> list[SelfAttention]:
    return [module for module in network.modules() if isinstance(module, SelfAttention)]


@pytest.mark.parametrize(("size", "depth"), [(24, 3), (32, 5), (64, 6), (96, 5), (128, 7), (224, 5), (256, 7)])
def test_default_depth_and_shapes(size, depth):
    network = build(size)
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
    network = build(64, depth=depth, norm=norm, dropout=0.5)
    network(OUTPUT, source=torch.randn(2, 3, 64, 64))["output"].square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())
    kind = nn.BatchNorm2d if norm == "batch" else nn.InstanceNorm2d
    assert sum(isinstance(module, kind) for module in network.modules()) == 2 * depth - 3


def test_paper_size():
    # pix2pix's generator for 256 px: 54.4 M parameters. Built without storage, to be quick.
    with torch.device("meta"):
        network = build(256, width=64, depth=8, norm="batch")
    assert sum(p.numel() for p in network.parameters()) == pytest.approx(54.4e6, abs=0.05e6)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"size": 7}, "unet with depth: 3 needs images of at least 8 px; for size: 7 use 8, or a smaller depth"),
        ({"size": 32, "depth": 6}, "use 64"),
        ({"size": 64, "attention": (16, 12)}, r"no level has a shorter side of 12 px; .* have 32, 16, 8, 4, 2, 1$"),
        ({"size": 100, "attention": (24,)}, r"no level has a shorter side of 24 px; .* have 50, 25, 13, 7, 4, 2$"),
        ({"size": 64, "skips": (1,)}, r"no level has a shorter side of 1 px; .* have 32, 16, 8, 4, 2$"),
    ],
)
def test_sizes_and_sides_that_do_not_fit_are_errors_that_name_those_that_do(params, message):
    with pytest.raises(RecipeError, match=message):
        build(**params)


def test_skips_carry_every_level():
    network = build(32).eval()
    activations = network.encoder(torch.randn(1, 3, 32, 32))
    for activation in activations:
        activation.retain_grad()
    network.decoder(activations).sum().backward()
    assert all(activation.grad.abs().sum() > 0 for activation in activations)


def test_dropout_is_in_three_layers_and_only_in_training():
    network = build(128, dropout=0.5)
    assert sum(isinstance(module, nn.Dropout) for module in network.decoder.modules()) == 3
    assert not any(isinstance(module, nn.Dropout) for module in build(128).modules())
    source = torch.randn(1, 3, 128, 128)
    assert not torch.equal(network(OUTPUT, source=source)["output"], network(OUTPUT, source=source)["output"])
    network.eval()
    assert torch.equal(network(OUTPUT, source=source)["output"], network(OUTPUT, source=source)["output"])


def test_computes_only_the_requested_names():
    network = build(32)
    assert network(frozenset()) == {}
    assert set(network.parts) == {"encoder", "decoder"}


def test_channels_last_and_autocast():
    network = build(32).to(memory_format=torch.channels_last)
    source = torch.randn(1, 3, 32, 32).to(memory_format=torch.channels_last)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = network(OUTPUT, source=source)["output"]
    assert output.is_contiguous(memory_format=torch.channels_last)
    assert output.isfinite().all()


# Recorded before sizes other than multiples were accepted: weights, sum of the output, one pixel.
RECORDED = [
    (24, {"norm": "batch"}, "52a9561f1cdab910", 12.168789, 0.00927),
    (64, {"norm": "batch"}, "c1ee7bf117fc02d2", 194.919847, 0.037986),
    (64, {"norm": "instance"}, "84fbec58963bfd2b", 193.668872, 0.04155),
    (64, {"norm": "batch", "dropout": 0.5, "depth": 4}, "45836ae9d6ac8b6f", 96.144694, -0.037336),
    (96, {"norm": "instance"}, "a189bdbff482f0e3", 266.364291, -0.008767),
]


@pytest.mark.parametrize(("size", "params", "weights", "total", "pixel"), RECORDED)
def test_weights_and_outputs_at_multiples_stay_as_recorded(size, params, weights, total, pixel):
    network = build(size, **params)
    state = hashlib.sha256(b"".join(item.numpy().tobytes() for item in network.state_dict().values()))
    assert state.hexdigest().startswith(weights)
    output = translate(network, size, size)
    # Not the bits, which depend on the CPU.
    assert float(output.detach().double().sum()) == pytest.approx(total, abs=1e-3)
    assert output[0, 0, 3, 5].item() == pytest.approx(pixel, abs=1e-5)


@pytest.mark.parametrize("norm", ["batch", "instance", "none"])
@pytest.mark.parametrize(
    ("size", "depth"), [((65, 65), 6), ((100, 100), 6), ((99, 57), 5), ((64, 100), 6), ((8, 9), 3), ((300, 129), 7)]
)
def test_any_size(size, depth, norm):
    network = build(size, norm=norm)
    assert len(network.encoder.levels) == depth
    output = translate(network, *size)
    assert output.shape == (2, 3, *size)
    (output - 1).square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() and p.grad.any() for p in network.parameters())
    network.eval()
    assert network(OUTPUT, source=torch.zeros(1, 3, 5, 1))["output"].shape == (1, 3, 5, 1), "smaller than in training"


def test_an_odd_side_is_rounded_up_with_zeros():
    network = build((37, 50), depth=2, norm="none").eval()
    source = torch.rand(1, 3, 37, 50) * 2 - 1
    first, second = network.encoder.levels
    ceiled = nn.functional.pad(source, (0, 0, 0, 1))
    large = first(ceiled)
    assert large.shape[2:] == (19, 25)
    small = second(nn.functional.pad(large, (0, 1, 0, 1)))
    assert small.shape[2:] == (10, 13)
    up = network.decoder.levels[0](small)[..., :19, :25]
    expected = network.decoder.last(torch.cat([up, large], 1))[..., :37, :]
    torch.testing.assert_close(network(OUTPUT, source=source)["output"], expected)


@pytest.mark.parametrize("size", [(64, 64), (100, 81)])
def test_without_skips_the_decoder_sees_the_last_activation_only(size):
    network = build(size, skips=False, norm="batch").eval()
    activations = network.encoder(torch.rand(1, 3, *size))
    expected = network.decoder(activations)
    *larger, smallest = activations
    assert torch.equal(network.decoder([*map(torch.zeros_like, larger), smallest]), expected)
    assert not torch.equal(network.decoder([*larger, torch.zeros_like(smallest)]), expected)
    assert sum(p.numel() for p in network.decoder.parameters()) < sum(p.numel() for p in build(64).decoder.parameters())


def test_named_skips_are_the_only_ones():
    network = build(64, skips=(16, 4), norm="batch").eval()
    activations = network.encoder(torch.rand(1, 3, 64, 64))
    expected, seen = network.decoder(activations), []
    for level, activation in enumerate(activations):
        changed = [item + (index == level) for index, item in enumerate(activations)]
        if not torch.equal(network.decoder(changed), expected):
            seen.append(activation.shape[-1])
    assert seen == [16, 4, 1]


# The decoder crops after the attention.
@pytest.mark.parametrize(
    ("size", "sides", "attended"),
    [((64, 64), (16, 8), [16, 8, 8, 16]), ((100, 120), (25, 2), [25, 2, 26])],
)
def test_attention_starts_as_the_identity_and_learns(size, sides, attended):
    network = build(size, attention=sides)
    lengths: list[int] = []
    for module in attentions(network):
        module.register_forward_hook(lambda _, inputs, output: lengths.append(min(output.shape[-2:])))
        module.register_forward_hook(lambda _, inputs, output: torch.testing.assert_close(inputs[0], output))
    before = translate(network, *size)
    assert lengths == attended
    (before - 1).square().sum().backward()
    assert all(module.project.weight.grad.any() for module in attentions(network))
    for module in attentions(network):
        module._forward_hooks.clear()
        nn.init.normal_(module.project.weight, std=0.5)
    network.zero_grad()
    after = translate(network, *size)
    assert not torch.allclose(after, before, atol=1e-4)
    (after - 1).square().sum().backward()
    for module in attentions(network):
        assert all(p.grad.isfinite().all() and p.grad.any() for p in (module.norm.weight, module.qkv.weight))


def test_attention_by_its_formula():
    torch.manual_seed(0)
    layer, features = SelfAttention(6), torch.randn(2, 6, 3, 5)
    nn.init.normal_(layer.project.weight)
    mean, std = features.mean((1, 2, 3), keepdim=True), features.var((1, 2, 3), correction=0, keepdim=True)
    tokens = ((features - mean) / (std + 1e-5).sqrt()).flatten(2)
    query, key, value = (
        torch.einsum("oc,ncs->nos", weight, tokens) + bias[:, None]
        for weight, bias in zip(layer.qkv.weight.chunk(3), layer.qkv.bias.chunk(3), strict=True)
    )
    weights = (torch.einsum("nci,ncj->nij", query, key) / 6**0.5).softmax(-1)
    mixed = torch.einsum("nij,ncj->nci", weights, value)
    expected = features + torch.einsum("oc,ncs->nos", layer.project.weight, mixed).reshape(features.shape)
    torch.testing.assert_close(layer(features), expected)


@pytest.mark.parametrize("params", [{"attention": (16, 8), "norm": "batch"}, {"skips": False, "size": (75, 65)}])
def test_checkpointed_gradients_are_the_same(params):
    params = {"size": 64, **params}
    size = params["size"] if isinstance(params["size"], tuple) else (64, 64)
    results = []
    for recompute in (False, True):
        network = build(**params, checkpoint_gradients=recompute)
        for module in attentions(network):
            nn.init.ones_(module.project.weight)
        output = translate(network, *size)
        output.square().sum().backward()
        results.append([output, *(p.grad for p in network.parameters()), *network.buffers()])
    assert all(map(torch.equal, *results))


@pytest.mark.parametrize("attention", [(), (13,)])
def test_bfloat16_at_an_odd_size_follows_float32(attention):
    network = build(100, attention=attention).eval()
    expected = translate(network, 100, 100)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = translate(network, 100, 100)
    assert output.shape == expected.shape
    assert (output.float() - expected).abs().mean() < 0.05 * expected.abs().mean()
