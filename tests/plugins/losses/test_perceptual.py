"""Perceptual loss: the formula over torchvision's features, its layers, and its errors."""

from __future__ import annotations

import pytest
import torch
from torchvision import models, transforms

from enface import DataInfo, RecipeError
from enface_plugins.losses.perceptual import Perceptual, gram
from enface_plugins.pretrained.networks import VGG16

DATA = DataInfo.square(48)
needs_vgg16 = pytest.mark.skipif(VGG16.find() is None, reason="needs: enface weights fetch vgg16")


@pytest.fixture(scope="module")
def alexnet():
    torch.manual_seed(0)
    return models.alexnet(weights=None).eval()


@pytest.fixture(scope="module")
def file(alexnet, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "alexnet.pth"
    torch.save({key: item for key, item in alexnet.state_dict().items() if key.startswith("features")}, path)
    return path


def pair() -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(1)
    return tuple(torch.rand(3, 3, 48, 48, generator=draw) * 2 - 1 for _ in range(2))


def features(network, image, last: int):
    """The features of torchvision's own layers up to ``last``, of an image in [-1, 1]."""
    normalised = transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))((image + 1) / 2)
    return network.features[: last + 1](normalised)


def test_gram_by_hand():
    # Channels (1, 2) and (3, 4): products 5, 11, 25, over C H W = 4.
    matrices = gram(torch.tensor([[[[1.0, 2.0]], [[3.0, 4.0]]]]))
    torch.testing.assert_close(matrices, torch.tensor([[[1.25, 2.75], [2.75, 6.25]]]))


@pytest.mark.parametrize("distance", ["l1", "l2"])
@pytest.mark.parametrize("style", [0.0, 7.0])
def test_it_is_the_formula_over_torchvisions_features(distance, style, alexnet, file):
    loss = Perceptual(
        backbone="alexnet", weights=file, layers={"relu1": 2.0, "conv3": 0.5}, distance=distance, style=style, data=DATA
    )
    output, target = pair()
    expected = torch.zeros(3)
    for position, weight in ((1, 2.0), (6, 0.5)):
        one, other = features(alexnet, output, position), features(alexnet, target, position)
        apart = (one - other).abs() if distance == "l1" else (one - other) ** 2
        grams = [torch.einsum("nchw,ndhw->ncd", each, each) / each[0].numel() for each in (one, other)]
        expected += weight * (apart.mean((1, 2, 3)) + style * ((grams[0] - grams[1]) ** 2).sum((1, 2)))
    error = loss(output, target)
    assert error.shape == (3,)
    torch.testing.assert_close(error, expected.detach(), rtol=1e-4, atol=1e-6)
    assert torch.equal(loss(output, output), torch.zeros(3))


def test_its_gradient_is_that_of_torchvisions_features(alexnet, file):
    output, target = pair()
    output.requires_grad_()
    target.requires_grad_()
    Perceptual(backbone="alexnet", weights=file, layers={"relu3": 1.0}, data=DATA)(output, target).sum().backward()
    error = (features(alexnet, output, 7) - features(alexnet, target, 7)).abs().flatten(1).mean(1).sum()
    (expected,) = torch.autograd.grad(error, output)
    torch.testing.assert_close(output.grad, expected, rtol=1e-3, atol=1e-8)
    assert target.grad is None


def test_the_gram_term_ignores_positions_and_the_distance_does_not(file):
    params = {"backbone": "alexnet", "weights": file, "layers": {"features.0": 1.0}, "data": DATA}
    output, target = pair()
    turned = target.roll(16, dims=3)
    plain, both = Perceptual(**params), Perceptual(**params, style=1000.0)
    grams = [(both(other, target) - plain(other, target)) for other in (turned, output * 0.2)]
    assert (plain(turned, target) > 0.01).all()
    assert (grams[0] < 0.2 * grams[1]).all()


def test_a_layer_of_weight_0_is_not_computed(file):
    loss = Perceptual(backbone="alexnet", weights=file, layers={"relu1": 1.0, "relu5": 0.0}, data=DATA)
    assert list(loss.backbone.nodes) == ["relu1"]


def test_missing_layers_are_an_error(file):
    with pytest.raises(RecipeError, match="backbone: resnet18 needs 'layers'"):
        Perceptual(backbone="resnet18", data=DATA)
    with pytest.raises(RecipeError, match="needs 'layers' with a weight above 0"):
        Perceptual(backbone="alexnet", weights=file, layers={"relu1": 0.0}, data=DATA)


def test_style_needs_maps(tmp_path):
    torch.manual_seed(0)
    torch.save(models.squeezenet1_1(weights=None).state_dict(), tmp_path / "s.pth")
    params = {"backbone": "squeezenet1_1", "weights": tmp_path / "s.pth", "layers": {"flatten": 1.0}, "data": DATA}
    assert Perceptual(**params)(*pair()).shape == (3,)
    with pytest.raises(RecipeError, match="'flatten' of squeezenet1_1 has no maps"):
        Perceptual(**params, style=1.0)


@needs_vgg16
def test_by_default_it_is_pix2pixhds_five_layers():
    loss = Perceptual(data=DATA)
    places = [1, 6, 11, 18, 25]
    assert [loss.backbone.nodes[layer] for layer in loss.layers] == [f"features.{place}" for place in places]
    assert list(loss.layers.values()) == [1 / 32, 1 / 16, 1 / 8, 1 / 4, 1.0]
    vgg = models.vgg16(weights=None).eval()
    vgg.load_state_dict(VGG16.load(), strict=False)
    output, target = pair()
    with torch.no_grad():
        expected = sum(
            weight * (features(vgg, output, place) - features(vgg, target, place)).abs().mean((1, 2, 3))
            for place, weight in zip(places, loss.layers.values(), strict=True)
        )
    torch.testing.assert_close(loss(output, target), expected, rtol=1e-4, atol=1e-5)


@needs_vgg16
def test_it_prefers_a_shift_to_a_blur_where_l1_prefers_the_blur():
    from skimage.data import astronaut

    face = torch.from_numpy(astronaut()[:192, 128:320].copy()).permute(2, 0, 1)[None].float() / 127.5 - 1
    target = torch.nn.functional.interpolate(face, 96, mode="area")
    blurred = transforms.functional.gaussian_blur(target, 13, 2.5)
    shifted = target.roll(2, dims=3)
    loss = Perceptual(data=DataInfo.square(96))
    assert (blurred - target).abs().mean() < (shifted - target).abs().mean()
    assert loss(blurred, target) > loss(shifted, target)


# ------------------------------------------------------------------ in a run


def term(file, **params) -> dict[str, object]:
    return {"use": "perceptual", "backbone": "alexnet", "weights": str(file), "layers": {"relu1": 1}, **params}


def test_it_trains_and_saves_nothing_in_a_checkpoint(enface, recipe, file, tmp_path):
    from safetensors import safe_open

    mine = recipe({"name": "mine", "stages": {"main": {"terms": {"l1": False, "features": term(file)}}}})
    outcome = enface("run", mine, "--runs", tmp_path / "runs")
    assert outcome.code == 0, outcome.err
    for path in (tmp_path / "runs").glob("*/*/checkpoints/*.safetensors"):
        with safe_open(path, "pt") as saved:
            assert {name.split("/")[0] for name in saved.keys()} <= {"generator", "ema", "optimizer"}  # noqa: SIM118
            assert not [name for name in saved.keys() if "backbone" in name]  # noqa: SIM118


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"layers": {"relu9": 1}}, "no layer 'relu9'"),
        ({"weights": "nowhere.pth"}, "there is no such file"),
        ({"layers": {"relu1": -1}}, "greater than or equal to 0"),
        ({"backbone": "alexnets"}, "did you mean 'alexnet'"),
    ],
)
def test_a_mistake_in_a_recipe_is_a_message_that_names_the_term(enface, recipe, file, tmp_path, params, message):
    terms = {"l1": False, "features": term(file, **params)}
    mine = recipe({"name": "mine", "stages": {"main": {"terms": terms}}})
    outcome = enface("run", mine, "--runs", tmp_path / "runs")
    assert outcome.code == 2
    assert message in outcome.err
    assert "features" in outcome.err
