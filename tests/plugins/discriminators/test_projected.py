"""The discriminator on pretrained features: training, checkpoints, errors."""

from __future__ import annotations

import pytest
import torch

from enface import DataInfo, RecipeError, WeightsError
from enface_plugins.discriminators.projected import DEFAULT_LAYERS, Projected
from enface_plugins.pretrained.networks import ALEXNET, VGG16

SIZE = 64


@pytest.fixture(params=[pytest.param(ALEXNET, id="alexnet"), pytest.param(VGG16, id="vgg16")])
def fetched(request):
    """The weights of a backbone, if they are cached."""
    if not request.param.path.is_file():
        pytest.skip(f"the weights {request.param.name} are not fetched")
    return request.param


def critic_of(backbone: str, size: int = SIZE, seed: int = 0, **params) -> Projected:
    torch.manual_seed(seed)
    return Projected(**{"backbone": backbone, "channels": 8, "width": 4, **params}, data=DataInfo.square(size)).train()


def test_each_layer_gives_a_scale_and_two_features(fetched):
    output = critic_of(fetched.name)(torch.rand(2, 3, SIZE, SIZE) * 2 - 1)
    sides = {"alexnet": [8, 4, 2, 2], "vgg16": [16, 8, 4, 2]}[fetched.name]
    assert [tuple(item.shape) for item in output["logits"]] == [(2, 1, side, side) for side in sides]
    assert [item.shape[1] for item in output["features"]] == [4, 8] * 4


def test_the_backbone_gets_the_input_of_torchvisions_preset(fetched):
    """Against torchvision's own network and normalisation, from images in [0, 1]."""
    from torchvision import models

    critic = critic_of(fetched.name)
    head_inputs: list[torch.Tensor] = []
    critic.heads[0].register_forward_pre_hook(lambda _, inputs: head_inputs.append(inputs[0]))
    image = torch.rand(2, 3, SIZE, SIZE)
    critic(image * 2 - 1)
    with torch.device("meta"):
        network = models.get_model(fetched.name)
    network.load_state_dict(fetched.load(), strict=False, assign=True)
    depth = {"alexnet": 2, "vgg16": 9}[fetched.name]
    preset = models.get_model_weights(fetched.name).DEFAULT.transforms()
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (preset.mean, preset.std))
    with torch.no_grad():
        expected = network.features[:depth]((image - mean) / std)
    torch.testing.assert_close(head_inputs[0], expected, rtol=1e-4, atol=1e-4)


def test_only_the_heads_are_trained(fetched):
    critic = critic_of(fetched.name)
    learning = {name: item for name, item in critic.named_parameters() if item.requires_grad}
    assert all(name.startswith("heads.") for name in learning)
    frozen = {name: item.clone() for name, item in critic.backbone.network.named_parameters()}
    frozen |= {f"mix{number}": head.mix.clone() for number, head in enumerate(critic.heads)}
    optimizer = torch.optim.SGD(critic.parameters(), lr=0.1)
    output = critic(torch.rand(2, 3, SIZE, SIZE) * 2 - 1)
    sum(item.square().mean() for item in output["logits"]).backward()
    before = {name: item.detach().clone() for name, item in learning.items()}
    optimizer.step()
    assert not any(torch.equal(item, before[name]) for name, item in learning.items())
    now = dict(critic.backbone.network.named_parameters())
    now |= {f"mix{number}": head.mix for number, head in enumerate(critic.heads)}
    assert all(item.grad is None and torch.equal(item, frozen[name]) for name, item in now.items())


def test_the_image_gets_a_gradient_through_the_backbone(fetched):
    critic = critic_of(fetched.name)
    for parameter in critic.parameters():
        parameter.requires_grad_(False)  # The generator's phase.
    for scale in range(4):
        image = (torch.rand(1, 3, SIZE, SIZE) * 2 - 1).requires_grad_()
        critic(image)["logits"][scale].sum().backward()
        assert image.grad.isfinite().all()
        assert float(image.grad.abs().max()) > 0


def test_the_state_holds_only_the_heads_and_restores_the_critic(fetched):
    critic, other = critic_of(fetched.name, seed=1), critic_of(fetched.name, seed=2)
    image = torch.rand(1, 3, SIZE, SIZE) * 2 - 1
    state = critic.state_dict()
    assert sum(value.numel() for value in state.values()) < 40_000
    assert not torch.equal(critic.heads[0].mix, other.heads[0].mix), "each seed draws its own mix"
    other.load_state_dict(state)
    assert all(name.startswith("heads.") for name in state)
    with pytest.raises(RuntimeError, match=r"Missing key.*heads\.0\.mix"):
        other.load_state_dict({name: value for name, value in state.items() if name != "heads.0.mix"})
    for one, two in zip(critic.eval()(image)["logits"], other.eval()(image)["logits"], strict=True):
        assert torch.equal(one, two)


def test_a_seed_gives_one_critic_and_the_backbone_draws_no_numbers(fetched):
    first, second = critic_of(fetched.name), critic_of(fetched.name)
    assert all(map(torch.equal, first.state_dict().values(), second.state_dict().values()))
    torch.manual_seed(0)
    drawn = torch.randn(8, first.heads[0].mix.shape[1], 1, 1)
    torch.testing.assert_close(first.heads[0].mix * first.heads[0].mix.shape[1] ** 0.5, drawn)


def test_all_of_it_changes_its_data_type(fetched):
    critic = critic_of(fetched.name).double()
    image = torch.rand(1, 3, SIZE, SIZE, dtype=torch.float64) * 2 - 1
    assert critic(image)["logits"][0].dtype == torch.float64


@pytest.mark.parametrize("backbone", DEFAULT_LAYERS)
def test_missing_weights_are_an_error(monkeypatch, tmp_path, backbone):
    monkeypatch.setenv("ENFACE_CACHE", str(tmp_path))
    with pytest.raises(WeightsError, match=f"enface weights fetch {backbone}"):
        critic_of(backbone)


def test_unknown_layers_and_small_images_are_errors(fetched):
    name = fetched.name
    with pytest.raises(RecipeError, match="has no layer 'relu9'"):
        critic_of(name, layers=("relu9",))
    with pytest.raises(RecipeError, match="needs 'layers', at least one"):
        critic_of(name, layers=())
    with pytest.raises(RecipeError, match="does not accept images of 8 px; use "):
        critic_of(name, size=8)


def test_a_backbone_without_default_layers_needs_layers():
    with pytest.raises(RecipeError, match="projected with backbone: resnet18 needs 'layers'"):
        critic_of("resnet18")


def test_another_backbone_with_batch_norm_and_a_file_of_weights(tmp_path):
    from torchvision import models

    torch.manual_seed(0)
    file = tmp_path / "resnet.pth"
    torch.save(models.resnet18(weights=None).state_dict(), file)
    critic = critic_of("resnet18", weights=file, layers=("layer1", "layer3"))
    image = torch.rand(2, 3, SIZE, SIZE) * 2 - 1
    output = critic(image)
    assert [tuple(item.shape) for item in output["logits"]] == [(2, 1, 8, 8), (2, 1, 2, 2)]
    running = critic.backbone.network.get_buffer("bn1.running_mean").clone()
    critic(image)
    assert torch.equal(critic.backbone.network.get_buffer("bn1.running_mean"), running), "in training, too"
    assert all(name.startswith("heads.") for name in critic.state_dict())
    assert all(name.startswith("heads.") for name, item in critic.named_parameters() if item.requires_grad)
    with pytest.raises(RecipeError, match=r"layer 'flatten' of resnet18 gives .* not a map"):
        critic_of("resnet18", weights=file, layers=("flatten",))


def test_its_batch_norm_may_span_processes_and_keeps_its_statistics(tmp_path):
    from torchvision import models

    from enface_tools.launch.sync_batchnorm import SharedBatchNorm, synchronized

    torch.manual_seed(0)
    file = tmp_path / "resnet.pth"
    torch.save(models.resnet18(weights=None).state_dict(), file)
    critic, plain = (critic_of("resnet18", weights=file, layers=("layer1",)) for _ in range(2))
    synchronized(critic, torch.device("cpu"))
    critic.train()
    assert any(isinstance(module, SharedBatchNorm) for module in critic.modules())
    image = torch.rand(2, 3, SIZE, SIZE) * 2 - 1
    torch.testing.assert_close(critic(image)["logits"], plain(image)["logits"])
    assert critic.state_dict().keys() == plain.state_dict().keys()
