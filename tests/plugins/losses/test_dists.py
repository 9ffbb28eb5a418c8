"""DISTS: the authors' numbers with the same VGG."""

from __future__ import annotations

from importlib.util import find_spec

import pytest
import torch

from enface import DataInfo, WeightsError
from enface_plugins.losses import dists
from enface_plugins.losses.dists import DISTS, SmoothPool, _similarities
from enface_plugins.pretrained.networks import VGG16

DATA = DataInfo.square(96)

needs_weights = pytest.mark.skipif(
    VGG16.find() is None or find_spec("DISTS_pytorch") is None,
    reason="needs: enface weights fetch vgg16, pip install DISTS-pytorch",
)


@pytest.fixture
def authors(monkeypatch):
    """The package's network with the cached VGG instead of one it would download."""
    from DISTS_pytorch import DISTS_pt
    from torchvision import models

    vgg = models.vgg16(weights=None)
    vgg.load_state_dict(VGG16.load(), strict=False)
    monkeypatch.setattr(DISTS_pt.models, "vgg16", lambda pretrained: vgg)
    network = DISTS_pt.DISTS(load_weights=False)
    learned = dists._learned_weights()
    network.alpha.data, network.beta.data = learned["alpha"], learned["beta"]
    return network


def pair(size: int) -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(1)
    coarse = torch.rand(3, 3, 8, 8, generator=draw)
    target = torch.nn.functional.interpolate(coarse, size=size, mode="bilinear")
    return (target + 0.2 * torch.randn(target.shape, generator=draw)).clamp(0, 1), target


@needs_weights
@pytest.mark.parametrize("size", [48, 75])
def test_numbers_and_gradients_are_the_authors(authors, size):
    output, target = pair(size)
    output.requires_grad_()
    expected = authors(output, target, require_grad=True)
    (gradient,) = torch.autograd.grad(expected.sum(), output)
    distance = DISTS(data=DATA)(2 * output - 1, 2 * target - 1)
    assert distance.shape == (3,)
    assert (expected > 0.05).all()
    torch.testing.assert_close(distance, expected, rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(
        torch.autograd.grad(distance.sum(), output)[0], gradient, rtol=0.01, atol=float(gradient.abs().max()) * 1e-3
    )


@needs_weights
def test_equal_images_give_0_and_constant_ones_a_finite_gradient():
    loss = DISTS(data=DATA).train()
    _, target = pair(48)
    assert torch.equal(loss(target, target), torch.zeros(3))
    flat = torch.zeros(1, 3, 48, 48, requires_grad=True)
    loss(flat, flat.detach().clone()).sum().backward()
    assert flat.grad.isfinite().all()
    assert not any(module.training for module in loss.trunk.network.modules())
    assert not any(item.requires_grad for item in loss.parameters())


def test_smooth_pooling_by_hand():
    # Windows of 3x3 about every second pixel, weights 1 2 1 over 4 each way: in the middle of a constant, itself.
    pooled = SmoothPool()(torch.full((1, 2, 6, 6), 3.0))
    torch.testing.assert_close(pooled[0, :, 1:, 1:], torch.full((2, 2, 2), 3.0))
    # At the corner a quarter of the window's weight is outside on either side: 3 x sqrt(9/16).
    assert pooled[0, 0, 0, 0].item() == pytest.approx(2.25)


def test_similarities_by_hand():
    # Means 2 and 4; differences from them (-1, 1) and (-2, 2).
    texture, structure = _similarities(*torch.tensor([[1.0, 3.0], [2.0, 6.0]]).view(2, 1, 1, 1, 2))
    assert texture.item() == pytest.approx(2 * 2 * 4 / (4 + 16))
    assert structure.item() == pytest.approx(2 * 2 / (1 + 4), abs=1e-6)


def test_a_missing_package_or_another_file_is_an_error(monkeypatch, tmp_path):
    monkeypatch.setattr(dists, "find_spec", lambda name: None)
    with pytest.raises(WeightsError, match="pip install DISTS-pytorch"):
        DISTS(data=DATA)

    class Spec:
        origin = str(tmp_path / "__init__.py")

    torch.save({"alpha": torch.ones(1, 1475, 1, 1), "beta": torch.ones(1, 1475, 1, 1)}, tmp_path / "weights.pt")
    monkeypatch.setattr(dists, "find_spec", lambda name: Spec)
    with pytest.raises(WeightsError, match=r"weights.pt: not the weights 'dists': the digest"):
        DISTS(data=DATA)
