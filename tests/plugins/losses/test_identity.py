"""Identity loss: the recogniser's input, the cosine distance, and files that do not fit."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from enface import DataInfo, RecipeError, WeightsError
from enface_plugins.losses.identity import Identity

pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit:Warning", "ignore:.*jit.trace:Warning")


def network(*more: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.Tanh(), nn.Flatten(), nn.Linear(4 * 7 * 7, 6), *more)


@pytest.fixture
def file(tmp_path):
    """Return a function that saves a network for 16 px as TorchScript and returns its path."""

    def write(module: nn.Module, name: str = "recogniser.pt"):
        traced = torch.jit.trace(module, torch.zeros(2, 3, 16, 16), check_trace=False)
        traced.save(str(tmp_path / name))
        return tmp_path / name

    return write


def pair(size: int = 16) -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(1)
    return tuple(torch.rand(3, 3, size, size, generator=draw) * 2 - 1 for _ in range(2))


def test_it_is_1_minus_the_cosine_of_the_embeddings(file):
    module, (output, target) = network().eval(), pair()
    loss = Identity(file=file(module), size=16, data=DataInfo.square(16)).train()
    output.requires_grad_()
    distance = loss(output, target)
    expected = 1 - functional.cosine_similarity(module(output), module(target))
    torch.testing.assert_close(distance, expected)
    (gradient,) = torch.autograd.grad(distance.sum(), output)
    torch.testing.assert_close(gradient, torch.autograd.grad(expected.sum(), output)[0])
    assert loss(target, target).abs().max() < 1e-6
    assert not any(item.requires_grad for item in loss.parameters())


class ImageItself(nn.Module):
    """An "embedding" that is the image itself."""

    def forward(self, image):
        return image.flatten(1)


@pytest.mark.parametrize(
    ("params", "shown"),
    [
        ({}, lambda image: image),
        ({"range": (0.0, 255.0)}, lambda image: (image + 1) * 127.5),
        ({"range": (0.0, 1.0), "colour": "bgr"}, lambda image: ((image + 1) / 2)[:, [2, 1, 0]]),
    ],
)
@pytest.mark.parametrize("original", [16, 24, 12])
def test_the_recogniser_gets_images_of_the_given_size_range_and_colour(params, shown, original, file):
    output, target = pair(original)
    distance = Identity(file=file(ImageItself()), size=16, data=DataInfo.square(original), **params)(output, target)
    images = [
        shown(functional.interpolate(image, (16, 16), mode="bilinear", antialias=True) if original != 16 else image)
        for image in (output, target)
    ]
    expected = 1 - functional.cosine_similarity(*(image.flatten(1) for image in images))
    torch.testing.assert_close(distance, expected, rtol=1e-4, atol=1e-6)


class Pair(nn.Module):
    def forward(self, image):
        return image.mean((2, 3)), image


class NoGradient(nn.Module):
    def forward(self, image):
        return (image.detach().mean((2, 3)) > 0).float()


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (nn.Conv2d(3, 4, 3), r"returns \(3, 4, 14, 14\) for 3 images; expected one embedding each"),
        (Pair(), "returns tuple for 3 images"),
        (NoGradient(), "lets no gradient through"),
        (network(nn.Dropout(0.5)).train(), "save it in eval mode"),
        (nn.Sequential(nn.BatchNorm2d(3), network()).train(), "save it in eval mode"),
    ],
    ids=["maps", "pair", "no gradient", "dropout", "batch norm"],
)
def test_a_recogniser_that_cannot_train_is_an_error(module, message, file):
    with pytest.raises(RecipeError, match=message):
        Identity(file=file(module), size=16, data=DataInfo.square(16))


def test_a_wrong_size_or_range_is_an_error(file):
    with pytest.raises(RecipeError, match=r"does not accept images \(N, 3, 20, 20\)"):
        Identity(file=file(network().eval()), size=20, data=DataInfo.square(16))
    with pytest.raises(RecipeError, match=r"range: \[1, -1\] must be ascending"):
        Identity(file=file(network().eval()), size=16, range=(1.0, -1.0), data=DataInfo.square(16))


def test_other_files_are_an_error_and_their_code_does_not_run(tmp_path):
    with pytest.raises(WeightsError, match="there is no such file"):
        Identity(file=tmp_path / "none.pt", size=16, data=DataInfo.square(16))
    program = torch.export.export(network().eval(), (torch.zeros(2, 3, 16, 16),))
    torch.export.save(program, tmp_path / "program.pt2")
    torch.save(Trap(tmp_path / "sprung"), tmp_path / "pickle.pt")
    (tmp_path / "noise.pt").write_bytes(b"nothing")
    for name in ("program.pt2", "pickle.pt", "noise.pt"):
        with pytest.raises(WeightsError, match=f"{name}: not a TorchScript file"):
            Identity(file=tmp_path / name, size=16, data=DataInfo.square(16))
    assert not (tmp_path / "sprung").exists()


class Trap:
    """An object that creates a file when it is unpickled."""

    def __init__(self, place):
        self.place = place

    def __reduce__(self):
        return (open, (str(self.place), "w"))


def test_it_trains_from_a_recipe(enface, recipe, file, tmp_path):
    terms = {"identity": {"weight": 0.1, "file": str(file(network().eval())), "size": 16, "range": [0, 1]}}
    mine = recipe({"name": "mine", "stages": {"main": {"terms": terms}}})
    outcome = enface("run", mine, "--runs", tmp_path / "runs")
    assert outcome.code == 0, outcome.err
    terms["identity"]["file"] = str(tmp_path / "gone.pt")
    outcome = enface("run", recipe({"name": "gone", "stages": {"main": {"terms": terms}}}), "--runs", tmp_path / "runs")
    assert outcome.code == 2
    assert "gone.pt: there is no such file" in outcome.err
