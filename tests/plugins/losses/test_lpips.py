"""LPIPS as a loss: the package's numbers and gradients, without its NaN."""

from __future__ import annotations

import lpips as package
import pytest
import torch

from enface import DataInfo, RecipeError, WeightsError
from enface_plugins import metrics
from enface_plugins.losses.lpips import LPIPS, _unit
from enface_plugins.pretrained.networks import ALEXNET, VGG16, lpips_network

DATA = DataInfo.square(48)
NETS = [
    pytest.param(net, marks=pytest.mark.skipif(weights.find() is None, reason=f"needs: enface weights fetch {name}"))
    for net, weights, name in (("alex", ALEXNET, "alexnet"), ("vgg", VGG16, "vgg16"))
]


def pair() -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(1)
    return tuple(torch.rand(2, 3, 48, 48, generator=draw) * 2 - 1 for _ in range(2))


def test_small_images_and_missing_weights_are_errors(tmp_path, monkeypatch):
    with pytest.raises(RecipeError, match="net: alex needs images of at least 31 px; these have 24"):
        LPIPS(net="alex", data=DataInfo.square(24))
    monkeypatch.setenv("ENFACE_CACHE", str(tmp_path))
    with pytest.raises(WeightsError, match="enface weights fetch vgg16"):
        LPIPS(data=DATA)


@pytest.mark.parametrize("net", NETS)
def test_numbers_and_gradients_are_the_packages_and_the_metrics(net):
    output, target = pair()
    output.requires_grad_()
    distance = LPIPS(net=net, data=DATA)(output, target)
    expected = lpips_network(net)(output, target).flatten()
    assert distance.shape == (2,)
    torch.testing.assert_close(distance, expected, rtol=1e-5, atol=1e-6)
    (gradient,) = torch.autograd.grad(distance.sum(), output)
    torch.testing.assert_close(gradient, torch.autograd.grad(expected.sum(), output)[0], rtol=1e-3, atol=1e-7)
    metric = metrics.LPIPS(data=DATA, net=net)((output + 1) / 2, (target + 1) / 2)
    torch.testing.assert_close(distance, metric, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("net", NETS)
def test_the_map_is_the_packages(net):
    network = lpips_network(net)
    network.spatial = True
    output, target = pair()
    error = LPIPS(net=net, spatial=True, data=DATA)(output, target)
    assert error.shape == (2, 1, 48, 48)
    torch.testing.assert_close(error, network(output, target), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("net", NETS)
def test_it_stays_in_eval_mode_and_trains_the_output_only(net):
    before = torch.get_rng_state()
    loss = LPIPS(net=net, data=DATA).train()
    assert torch.equal(torch.get_rng_state(), before)
    assert not any(module.training for module in loss.frozen.network.modules())
    output, target = (item.requires_grad_() for item in pair())
    first = loss(output, target)
    assert torch.equal(loss(output, target), first)
    first.sum().backward()
    assert output.grad.any()
    assert target.grad is None
    assert not any(item.requires_grad for item in loss.parameters())


def test_features_that_vanish_have_a_finite_gradient():
    # Positions where no channel is active; the package's gradient is NaN there before the ReLU drops it.
    gradients = []
    for scale in (_unit, package.normalize_tensor):
        features = torch.tensor([[[[3.0, 0.0]], [[4.0, 0.0]]]], requires_grad=True)
        unit = scale(features)
        torch.testing.assert_close(unit.detach().flatten(), torch.tensor([0.6, 0.0, 0.8, 0.0]))
        unit.square().mean().backward()
        gradients.append(features.grad.isfinite().all().item())
    assert gradients == [True, False]
