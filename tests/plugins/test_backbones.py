"""Frozen backbones: torchvision's features, weights or an error, and no change in training."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torchvision import models, transforms

from enface import RecipeError, WeightsError
from enface_plugins.backbones import Backbone, default_layers
from enface_plugins.frozen import Frozen

IMAGENET = transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def network(name: str) -> nn.Module:
    """A torchvision classifier with random weights and batch statistics that are not at their defaults."""
    torch.manual_seed(0)
    module = models.get_model(name, weights=None)
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.normal_(layer.running_mean, 0, 0.1)
            nn.init.uniform_(layer.weight, 0.5, 1.5)
            nn.init.normal_(layer.bias, 0, 0.3)
    return module.eval()


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """Return a function that writes a network's state dict and returns its path."""

    def write(name: str):
        path = tmp_path_factory.getbasetemp() / f"{name}.safetensors"
        if not path.exists():
            save_file({key: item for key, item in network(name).state_dict().items() if "classifier" not in key}, path)
        return path

    return write


def images(size: int = 64, count: int = 2) -> torch.Tensor:
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(1)) * 2 - 1


@pytest.mark.parametrize(
    ("name", "layers"),
    [
        # The first layer of each is changed in place by the next.
        ("resnet18", ["layer1.0.bn2", "layer1.1.bn1", "layer3.0.bn2", "layer3"]),
        ("alexnet", ["features.0", "features.3", "features.6", "features.7"]),
        ("densenet121", ["features.denseblock1.denselayer1.norm1", "features.norm5"]),
    ],
)
def test_features_are_those_torchvision_computes(name, layers, file):
    backbone, reference, expected = Backbone(name, layers, (64, 64), file(name)), network(name), {}
    for layer in layers:
        hook = lambda module, inputs, output, layer=layer: expected.update({layer: output.clone()})  # noqa: E731
        reference.get_submodule(layer).register_forward_hook(hook)
    source = images()
    with torch.no_grad():
        reference(IMAGENET((source + 1) / 2))
    features = backbone(source)
    assert list(features) == layers
    assert features[layers[0]].min() < 0, "taken before the ReLU that follows"
    for layer in layers:
        torch.testing.assert_close(features[layer], expected[layer], rtol=1e-4, atol=1e-5)
        assert backbone.shapes[layer] == features[layer].shape[1:]


def test_layers_past_the_deepest_one_are_removed(file):
    backbone = Backbone("alexnet", ["relu2", "features.0"], (64, 64), file("alexnet"))
    convolutions = [name for name, module in backbone.network.named_modules() if isinstance(module, nn.Conv2d)]
    assert convolutions == ["features.0", "features.3"]
    assert list(backbone(images())) == ["relu2", "features.0"]


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("vgg16", {"relu1_1": 1, "relu3_3": 15, "conv5_3": 28, "pool5": 30, "relu5_1": 25}),
        ("vgg19", {"relu3_4": 17, "relu5_1": 29}),
        ("vgg16_bn", {"conv3_3": 20, "relu3_3": 22}),
        ("alexnet", {"relu1": 1, "pool1": 2, "conv3": 6, "relu5": 11}),
    ],
)
def test_the_papers_layer_names(name, known):
    from enface_plugins.backbones import _block_names

    with torch.device("meta"):
        named = _block_names(name, models.get_model(name, weights=None))
    assert {layer: named[layer] for layer in known} == {layer: f"features.{index}" for layer, index in known.items()}
    assert set(default_layers(name)) <= set(named)


def test_it_stays_frozen_in_eval_mode_and_draws_no_random_numbers(file):
    path, before = file("resnet18"), torch.get_rng_state()
    backbone = nn.Sequential(Backbone("resnet18", ["layer2"], (64, 64), path))
    assert torch.equal(torch.get_rng_state(), before)
    state = {name: item.clone() for name, item in backbone.state_dict().items()}
    backbone.train()
    inner = backbone[0].network
    assert not any(module.training for module in inner.modules())
    source = images().requires_grad_()
    first, again = backbone(source)["layer2"], backbone(source)["layer2"]
    assert torch.equal(first, again)
    first.sum().backward()
    assert source.grad.any()
    assert not any(item.requires_grad or item.grad is not None for item in backbone.parameters())
    assert all(torch.equal(item, state[name]) for name, item in backbone.state_dict().items())


def test_dropout_in_a_frozen_network_stays_off():
    frozen = Frozen(nn.Dropout(0.5))
    nn.Sequential(frozen).train()
    assert torch.equal(frozen(torch.ones(100)), torch.ones(100))


def test_channels_last_gives_the_same(file):
    backbone = Backbone("alexnet", ["relu2", "relu5"], (64, 64), file("alexnet"))
    plain, last = backbone(images()), backbone(images().to(memory_format=torch.channels_last))
    for layer in plain:
        torch.testing.assert_close(plain[layer], last[layer], rtol=1e-4, atol=1e-5)


def test_detached_features_are_equal_and_carry_no_graph(file):
    backbone = Backbone("alexnet", ["relu2"], (64, 64), file("alexnet"))
    source = images().requires_grad_()
    assert torch.equal(backbone.detached(source)["relu2"], backbone(source)["relu2"])
    assert not backbone.detached(source)["relu2"].requires_grad


# ------------------------------------------------------------------ errors


def test_missing_weights_are_an_error_that_names_the_remedy(tmp_path, monkeypatch):
    monkeypatch.setenv("ENFACE_CACHE", str(tmp_path))
    with pytest.raises(WeightsError, match="enface weights fetch vgg16"):
        Backbone("vgg16", ["relu3_3"], (64, 64))
    with pytest.raises(WeightsError, match=r"no weights for backbone 'resnet18': set 'weights' .*, or use vgg16"):
        Backbone("resnet18", ["layer1"], (64, 64))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("vgg17", ["x"], (64, 64)), "no classification network 'vgg17'; did you mean 'vgg1"),
        (("vgg16", ["relu3_9"], (64, 64)), "'relu3_9'; did you mean 'relu3_"),
        (("vgg16", ["features.99"], (64, 64)), "'features.99'; did you mean 'features.9'"),
        (("vgg16", ["nothing"], (64, 64)), "it has conv1_1, relu1_1, conv1_2"),
        (("vgg16", ["relu5_1"], (8, 8)), "does not accept images of 8 px; use 16 px"),
        (("vit_b_16", ["encoder.ln"], (200, 200)), "use 224 px, the next larger size"),
        (("regnet_y_400mf", ["trunk_output"], (64, 64)), "use another backbone"),
    ],
)
def test_an_unknown_name_or_size_is_an_error_with_a_suggestion(arguments, message):
    with pytest.raises(RecipeError, match=message):
        Backbone(*arguments)


def test_a_file_without_the_weights_is_an_error(tmp_path, file):
    part, shaped = tmp_path / "part.pth", tmp_path / "shaped.pth"
    tensors = {name: item for name, item in network("alexnet").state_dict().items() if name.startswith("features.0")}
    torch.save(tensors, part)
    torch.save({**tensors, "features.0.bias": torch.zeros(65)}, shaped)
    damaged, listed = tmp_path / "damaged.safetensors", tmp_path / "list.pt"
    damaged.write_bytes(file("alexnet").read_bytes()[:1000])
    torch.save([1, 2], listed)
    for path, message in (
        (part, r"part.pth: expected a tensor features.3.weight of shape \(192, 64, 5, 5\), but it is missing"),
        (shaped, r"features.0.bias of shape \(64,\), but its shape is \(65,\)"),
        (damaged, "damaged.safetensors: cannot be read as a state dict"),
        (listed, "contains a list, not a state dict"),
        (tmp_path / "none.pth", "there is no such file"),
    ):
        with pytest.raises(WeightsError, match=message):
            Backbone("alexnet", ["relu2"], (64, 64), path)
    assert Backbone("alexnet", ["relu1"], (64, 64), part)(images())["relu1"].shape == (2, 64, 15, 15)


class Trap:
    """An object that creates a file when it is unpickled."""

    def __init__(self, place):
        self.place = place

    def __reduce__(self):
        return (open, (str(self.place), "w"))


def test_a_file_with_code_is_an_error_and_the_code_does_not_run(tmp_path):
    torch.save({"features.0.weight": Trap(tmp_path / "sprung")}, tmp_path / "trap.pth")
    with pytest.raises(WeightsError, match="cannot be read as a state dict"):
        Backbone("alexnet", ["relu1"], (64, 64), tmp_path / "trap.pth")
    assert not (tmp_path / "sprung").exists()
