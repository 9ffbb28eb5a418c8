"""NAFNet: the paper's sizes, its block by hand, its initial state."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.nn import functional

from enface import DataInfo, RecipeError
from enface_plugins.generators.nafnet import Block, Nafnet

OUTPUT = frozenset({"output"})
SMALL = {"width": 4, "encoder_blocks": (1, 2), "middle_blocks": 1, "decoder_blocks": (1, 1)}


def build(size: int | tuple[int, int] = 32, **params) -> Nafnet:
    torch.manual_seed(0)
    data = replace(DataInfo.square(size=64), size=(size, size) if isinstance(size, int) else size)
    return Nafnet(data=data, **{**SMALL, **params})


@pytest.mark.parametrize(
    ("width", "encoder", "middle", "decoder", "millions"),
    [
        # The authors' deblurring and denoising networks, with the sizes that their papers and programs state.
        (32, (1, 1, 1, 28), 1, (1, 1, 1, 1), 17.11),
        (64, (1, 1, 1, 28), 1, (1, 1, 1, 1), 67.89),
        (32, (2, 2, 4, 8), 12, (2, 2, 2, 2), 29.16),
        (64, (2, 2, 4, 8), 12, (2, 2, 2, 2), 115.98),
    ],
)
def test_the_papers_sizes(width, encoder, middle, decoder, millions):
    with torch.device("meta"):
        network = build(width=width, encoder_blocks=encoder, middle_blocks=middle, decoder_blocks=decoder)
    assert sum(p.numel() for p in network.parameters()) / 1e6 == pytest.approx(millions, abs=0.02)


def test_a_block_by_its_formula():
    torch.manual_seed(0)
    block, features = Block(6), torch.randn(2, 6, 5, 5)
    assert torch.equal(block(features), features)
    for parameter in block.parameters():
        torch.nn.init.normal_(parameter)

    def normed(item, norm):
        centred = item - item.mean(1, keepdim=True)
        scaled = centred / (centred.square().mean(1, keepdim=True) + 1e-6).sqrt()
        return scaled * norm.weight.view(1, -1, 1, 1) + norm.bias.view(1, -1, 1, 1)

    norm, wide, depthwise, _, attention, last = block.mix
    mixed = functional.conv2d(wide(normed(features, norm)), depthwise.weight, depthwise.bias, padding=1, groups=12)
    gated = mixed[:, :6] * mixed[:, 6:]
    means = torch.einsum("oi,ni->no", attention.weigh.weight[:, :, 0, 0], gated.mean((2, 3))) + attention.weigh.bias
    expected = features + block.beta * last(gated * means[:, :, None, None])
    norm, wide, _, last = block.feed
    fed = wide(normed(expected, norm))
    expected = expected + block.gamma * last(fed[:, :6] * fed[:, 6:])
    torch.testing.assert_close(block(features), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("residual", [False, True])
def test_output_and_residual(residual):
    network = build(residual=residual)
    source = torch.rand(2, 3, 32, 32) * 2 - 1
    output = network(OUTPUT, source=source)["output"]
    *skips, smallest = network.encoder(source)
    assert [tuple(item.shape[1:]) for item in (*skips, smallest)] == [(4, 32, 32), (8, 16, 16), (16, 8, 8)]
    decoded = network.decoder(network.middle(smallest), skips)
    torch.testing.assert_close(output, source + decoded if residual else decoded.tanh())
    if residual:
        torch.nn.init.zeros_(network.decoder.last.weight)
        torch.nn.init.zeros_(network.decoder.last.bias)
        assert torch.equal(network(OUTPUT, source=source)["output"], source)


def test_every_parameter_learns():
    network = build()
    for name, parameter in network.named_parameters():
        if name.endswith(("beta", "gamma")):
            torch.nn.init.ones_(parameter)
    network(OUTPUT, source=torch.rand(2, 3, 32, 32))["output"].square().mean().backward()
    assert all(p.grad.isfinite().all() and p.grad.any() for p in network.parameters())
    assert set(network.parts) == {"encoder", "middle", "decoder"}


@pytest.mark.parametrize(
    ("params", "message"),
    [
        (
            {"size": 3},
            "nafnet with 2 sizes needs images of at least 4 px; for size: 3 use 4, or shorter lists",
        ),
        ({"size": 8, "encoder_blocks": (1,) * 4, "decoder_blocks": (1,) * 4}, "use 16"),
        ({"decoder_blocks": (1,)}, "encoder_blocks has 2 sizes and decoder_blocks 1"),
    ],
)
def test_sizes_and_lists_that_do_not_fit_are_errors(params, message):
    with pytest.raises(RecipeError, match=message):
        build(**params)


def test_channels_last_and_autocast():
    network = build().to(memory_format=torch.channels_last)
    source = torch.randn(1, 3, 32, 32).to(memory_format=torch.channels_last)
    plain = build()(OUTPUT, source=source.contiguous())["output"]
    torch.testing.assert_close(network(OUTPUT, source=source)["output"], plain, rtol=1e-3, atol=1e-5)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert network(OUTPUT, source=source)["output"].isfinite().all()


def test_weights_and_outputs_at_multiples_stay_as_recorded():
    # Before sizes other than multiples were accepted: sum of the weights, sum of the output, one pixel.
    network = build(48, encoder_blocks=(1, 1))
    source = torch.rand(2, 3, 48, 48, generator=torch.Generator().manual_seed(1)) * 2 - 1
    output = network(OUTPUT, source=source)["output"].detach()
    assert sum(p.detach().double().sum().item() for p in network.parameters()) == pytest.approx(64.322666, abs=1e-4)
    assert output.double().sum().item() == pytest.approx(-1202.25379, abs=1e-2)
    assert output[0, 0, 3, 5].item() == pytest.approx(0.053805, abs=1e-5)


@pytest.mark.parametrize("size", [(33, 47), (4, 5), (101, 64)])
def test_any_size(size):
    network = build(size)
    source = torch.rand(2, 3, *size)
    output = network(OUTPUT, source=source)["output"]
    assert output.shape == source.shape
    (output - 1).square().sum().backward()
    assert all(p.grad.isfinite().all() for p in network.parameters())
    *skips, smallest = network.encoder(source)
    height, width = size
    assert smallest.shape[2:] == (-(-height // 4), -(-width // 4))
    assert [item.shape[2:] for item in skips] == [(height, width), (-(-height // 2), -(-width // 2))]
