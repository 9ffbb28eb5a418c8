"""The Siamese network: layout, size, split, and computation on request only."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from enface import DataInfo, RecipeError
from enface_plugins.generators.siamese import Siamese

MULTIPIE = {"pose": 9, "light": 20, "identity": 200}


def build(*, size: int = 96, classes: dict[str, int] = MULTIPIE, **params) -> Siamese:
    torch.manual_seed(0)
    return Siamese(data=DataInfo.square(size=size, classes=classes), **params)


def images(size: int = 96, count: int = 2) -> torch.Tensor:
    return torch.rand(count, 3, size, size) * 2 - 1


def calls(module: nn.Module) -> list[torch.Tensor]:
    """Return a list that collects the outputs of ``module``'s calls."""
    outputs: list[torch.Tensor] = []
    module.register_forward_hook(lambda module, inputs, output: outputs.append(output))
    return outputs


def shapes(modules: nn.Sequential, image: torch.Tensor) -> list[tuple[int, ...]]:
    """Return the shape (without N) after each child of ``modules``."""
    result = []
    for module in modules:
        image = module(image)
        result.append(tuple(image.shape[1:]))
    return result


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_parameter_count():
    network = build()
    assert count(network) == pytest.approx(6.3e6, abs=0.1e6)
    assert {name: count(part) for name, part in network.parts.items()} == {
        "encoder": 3_508_736,
        "decoder": 2_746_147,
        "heads": 83_549,
    }
    assert count(network) == 6_338_432


def test_encoder_layer_by_layer():
    network = build().eval()
    with torch.inference_mode():
        stem = network.encoder.stem(images(count=1))
        assert stem.shape == (1, 64, 96, 96)
        assert shapes(network.encoder.stages, stem) == [
            (128, 48, 48),
            (192, 24, 24),
            (256, 12, 12),
            (320, 6, 6),
        ]
    widths = [[m.out_channels for m in s.modules() if isinstance(m, nn.Conv2d)] for s in network.encoder.stages]
    assert widths == [[128, 64, 128], [192, 96, 192], [256, 128, 256], [320, 160, 320]]


@pytest.mark.parametrize("decoder", ["transposed", "bilinear"])
def test_decoder_layer_by_layer(decoder):
    network = build(decoder=decoder).eval()
    with torch.inference_mode():
        decoder_shapes = shapes(network.decoder, torch.randn(1, 240, 6, 6))
    layout = [(160, 6), (256, 6), (256, 12), (128, 12), (192, 12), (192, 24), (96, 24), (128, 24), (128, 48)]
    layout += [(64, 48), (64, 48), (64, 96), (32, 96), (3, 96)]
    assert decoder_shapes == [(channels, side, side) for channels, side in layout]
    kind = nn.ConvTranspose2d if decoder == "transposed" else nn.Conv2d
    convs = [m for m in network.decoder.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)]
    assert len(convs) == 14
    assert all(type(conv) is kind and conv.kernel_size == (3, 3) for conv in convs)
    # Both kinds of decoder have the same weights to learn.
    assert count(network) == 6_338_432


def test_residual_sums():
    network = build(width=0.25).eval()
    stem, stage = network.encoder.stem, network.encoder.stages[0]
    with torch.inference_mode():
        image = images(count=1)
        first = nn.functional.elu(stem.shortcut(image) + stem.body(image))
        torch.testing.assert_close(stem(image), first)
        # The stage adds the stride-2 layer's activation; the last layer has no ELU before the sum.
        kept = stage[1](stage[0](first))
        torch.testing.assert_close(stage(first), nn.functional.elu(kept + stage[2].body(kept)))
    assert isinstance(stage[2].body[-1][-1], nn.BatchNorm2d)


def test_all_provided_names():
    network = build(width=0.25)
    wants = frozenset(network.provides)
    outputs = network(wants, source=images(), partner=images())
    assert set(outputs) == wants
    assert outputs["output"].shape == (2, 3, 96, 96)
    assert outputs["output"].abs().max() <= 1
    assert outputs["identity_code"].shape == outputs["partner_identity_code"].shape == (2, 60 * 36)
    assert outputs["pose_logits"].shape == outputs["partner_pose_logits"].shape == (2, 9)
    assert outputs["light_logits"].shape == outputs["partner_light_logits"].shape == (2, 20)
    assert {name for name, columns in network.provides.items() if columns == ("partner",)} == {
        name for name in wants if name.startswith("partner_")
    }


def test_code_is_split_240_to_80():
    network = build().eval()
    codes = calls(network.encoder)
    with torch.inference_mode():
        outputs = network(frozenset({"identity_code", "pose_logits"}), source=images())
        (code,) = codes
        pose = network.heads["pose"](code[:, 240:]).flatten(1)
    assert code.shape == (2, 320, 6, 6)
    assert outputs["identity_code"].shape == (2, 8640)
    assert torch.equal(outputs["identity_code"], code[:, :240].flatten(1))
    assert torch.equal(outputs["pose_logits"], pose)


@pytest.mark.parametrize(("name", "identity_learns"), [("pose_logits", False), ("output", True)])
def test_a_name_depends_only_on_its_part_of_the_code(name, identity_learns):
    network = build(width=0.25, size=32)
    codes = calls(network.encoder)
    outputs = network(frozenset({name}), source=images(32))
    (gradient,) = torch.autograd.grad(outputs[name].square().sum(), codes[0])
    identity, rest = (part.any().item() for part in gradient.split(network.split, dim=1))
    assert (identity, rest) == (identity_learns, not identity_learns)


@pytest.mark.parametrize("width", [0.05, 0.25, 0.6, 1.0, 1.5])
def test_split_keeps_its_ratio_at_every_width(width):
    identity, rest = build(width=width).split
    assert identity == 3 * rest
    assert (identity + rest) % 8 == 0


def test_second_branch_runs_only_for_a_partner_request():
    network = build(width=0.25, size=32)
    codes = calls(network.encoder)
    network(frozenset({"output", "pose_logits"}), source=images(32), partner=images(32))
    assert len(codes) == 1
    network(frozenset({"output", "partner_identity_code"}), source=images(32), partner=images(32))
    assert len(codes) == 3
    network(frozenset({"partner_identity_code"}), partner=images(32))
    assert len(codes) == 4
    assert network(frozenset()) == {}
    assert len(codes) == 4


def test_decoder_and_heads_run_only_on_request():
    network = build(width=0.25, size=32)
    faces, poses, lights = calls(network.decoder), calls(network.heads["pose"]), calls(network.heads["light"])
    network(frozenset({"identity_code"}), source=images(32))
    assert (len(faces), len(poses), len(lights)) == (0, 0, 0)
    network(frozenset({"light_logits"}), source=images(32))
    assert (len(faces), len(poses), len(lights)) == (0, 0, 1)
    network(frozenset({"output"}), source=images(32))
    assert (len(faces), len(poses), len(lights)) == (1, 0, 1)


def test_branches_share_weights_but_not_batch_statistics():
    network = build(width=0.25, size=32)
    wants = frozenset({"identity_code", "partner_identity_code"})
    source, partner = images(32), images(32) * 0.1
    both = network(wants, source=source, partner=partner)
    alone = network(frozenset({"identity_code"}), source=source)
    assert torch.equal(both["identity_code"], alone["identity_code"])
    twin = network(wants, source=source, partner=source)
    assert torch.equal(twin["identity_code"], twin["partner_identity_code"])


@pytest.mark.parametrize("size", [16, 64, 96, 128])
@pytest.mark.parametrize("decoder", ["transposed", "bilinear"])
def test_sizes(size, decoder):
    network = build(width=0.25, size=size, decoder=decoder)
    outputs = network(frozenset({"output", "identity_code", "pose_logits"}), source=images(size))
    assert outputs["output"].shape == (2, 3, size, size)
    assert outputs["identity_code"].shape == (2, 60 * (size // 16) ** 2)
    assert outputs["pose_logits"].shape == (2, 9)
    assert network.heads["pose"].kernel_size == (size // 16, size // 16)


@pytest.mark.parametrize(("size", "nearest"), [(100, "96 or 112"), (8, "use 16"), (95, "80 or 96")])
def test_a_wrong_size_is_an_error_that_names_the_nearest_right_ones(size, nearest):
    with pytest.raises(RecipeError, match=nearest):
        build(size=size)


@pytest.mark.parametrize(("classes", "heads"), [({}, set()), ({"pose": 9}, {"pose"}), ({"light": 20}, {"light"})])
def test_a_missing_column_gives_no_logits(classes, heads):
    network = build(width=0.25, size=32, classes=classes)
    assert set(network.heads) == heads
    logits = {name for name in network.provides if name.endswith("_logits")}
    assert logits == {f"{side}{head}_logits" for head in heads for side in ("", "partner_")}
    missing = ({"pose", "light"} - heads).pop()
    for name in (f"{missing}_logits", f"partner_{missing}_logits"):
        with pytest.raises(RecipeError, match=f"does not provide {name}"):
            network(frozenset({name}), source=images(32), partner=images(32))
    # Another network's heads are its own.
    assert "pose_logits" in build(width=0.25, size=32).provides


def test_initialization():
    network = build()
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d) and module.weight.numel() > 10_000:
            assert module.weight.std().item() == pytest.approx(0.02, rel=0.05)
        if isinstance(module, nn.BatchNorm2d):
            assert module.weight.mean().item() == pytest.approx(1, abs=0.02)
            assert module.weight.std().item() == pytest.approx(0.02, rel=0.5)
        bias = getattr(module, "bias", None)
        assert bias is None or not bias.any()


def test_every_parameter_learns():
    network = build(width=0.25, size=32)
    outputs = network(frozenset({"output", "pose_logits", "light_logits"}), source=images(32))
    sum(value.square().sum() for value in outputs.values()).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())


def test_channels_last_is_kept():
    network = build(width=0.25, size=32).to(memory_format=torch.channels_last)
    source = images(32).to(memory_format=torch.channels_last)
    activations = [calls(module) for module in (network.encoder, *network.decoder)]
    outputs = network(frozenset({"output", "pose_logits"}), source=source)
    assert all(of[0].is_contiguous(memory_format=torch.channels_last) for of in activations)
    plain = build(width=0.25, size=32)(frozenset({"output"}), source=source.contiguous())
    torch.testing.assert_close(outputs["output"], plain["output"], atol=1e-4, rtol=1e-3)


def test_autocast():
    network = build(width=0.25, size=32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        outputs = network(frozenset(network.provides), source=images(32), partner=images(32))
    assert outputs["output"].dtype == torch.bfloat16
    assert all(value.isfinite().all() for value in outputs.values())


def test_codes_and_noise_reach_the_decoder():
    network = build(size=32, width=0.25, codes={"pose": 4, "light": 7}, noise=5)
    assert network.provides["output"] == ("source", "target_pose_class", "target_light_class")
    plain = build(size=32, width=0.25)
    wider = network.decoder[0][0].in_channels - plain.decoder[0][0].in_channels
    assert wider == 9 + 20 + 5
    wants, source = frozenset({"output"}), images(32)
    network.eval()
    default = {"target_pose_class": torch.tensor([4, 4]), "target_light_class": torch.tensor([7, 7])}
    with torch.no_grad():
        alone, conditioned = network(wants, source=source), network(wants, source=source, **default)
        other = network(wants, source=source, **{**default, "target_pose_class": torch.tensor([4, 0])})
    assert torch.equal(alone["output"], conditioned["output"]), "the default class is used if no target is known"
    assert torch.equal(other["output"][0], conditioned["output"][0])
    assert not torch.equal(other["output"][1], conditioned["output"][1])


def test_noise_is_drawn_in_training_only():
    network = build(size=32, width=0.25, noise=5)
    wants, source = frozenset({"output"}), images(32)
    first, second = (network(wants, source=source)["output"] for _ in range(2))
    assert not torch.equal(first, second)
    torch.manual_seed(1)
    third = network(wants, source=source)["output"]
    torch.manual_seed(1)
    assert torch.equal(network(wants, source=source)["output"], third)
    network.eval()
    assert torch.equal(network(wants, source=source)["output"], network(wants, source=source)["output"])


def test_unknown_columns_and_classes_in_codes_are_errors():
    with pytest.raises(RecipeError, match="no column 'mood'"):
        build(size=32, width=0.25, codes={"mood": 0})
    with pytest.raises(RecipeError, match="pose has the classes 0 to 8, not 9"):
        build(size=32, width=0.25, codes={"pose": 9})
