"""LPIPS: errors without weights, and values with them (``enface weights fetch``)."""

from __future__ import annotations

import os

import pytest
import torch

from enface import DataInfo, EnfaceError, WeightsError
from enface_plugins.metrics import LPIPS
from enface_plugins.pretrained.networks import ALEXNET, TRUNKS, VGG16

DATA = DataInfo.square(48)
needs_alexnet = pytest.mark.skipif(ALEXNET.find() is None, reason="needs: enface weights fetch alexnet")
needs_vgg16 = pytest.mark.skipif(VGG16.find() is None, reason="needs: enface weights fetch vgg16")
TRUNK = [pytest.param("alex", marks=needs_alexnet), pytest.param("vgg", marks=needs_vgg16)]


@pytest.fixture(scope="module")
def faces():
    coarse = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    return 0.2 + 0.6 * torch.nn.functional.interpolate(coarse, size=48, mode="bilinear")


def test_without_weights_the_error_says_how_to_get_them(tmp_path, monkeypatch):
    monkeypatch.setenv("ENFACE_CACHE", str(tmp_path))
    for net, name in (("alex", "alexnet"), ("vgg", "vgg16")):
        with pytest.raises(WeightsError, match=f"enface weights fetch {name}"):
            LPIPS(data=DATA, net=net)


def test_too_small_images_are_refused():
    with pytest.raises(EnfaceError, match="at least 31 px"):
        LPIPS(data=DataInfo.square(30))


@pytest.mark.parametrize("net", TRUNK)
def test_values(net, faces):
    metric = LPIPS(data=DATA, net=net)
    assert torch.equal(metric(faces, faces), torch.zeros(2))
    noise = torch.randn(faces.shape, generator=torch.Generator().manual_seed(1))
    levels = [metric((faces + s * noise).clamp(0, 1), faces) for s in (0.01, 0.05, 0.2)]
    assert all((low < high).all() for low, high in zip([torch.zeros(2), *levels], levels, strict=False))
    assert not metric.higher_is_better
    torch.testing.assert_close(metric(faces, faces.roll(1, 0)), metric(faces.roll(1, 0), faces))
    apart = torch.cat([metric(faces[i : i + 1], faces.roll(1, 0)[i : i + 1]) for i in range(2)])
    torch.testing.assert_close(metric(faces, faces.roll(1, 0)), apart, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("net", TRUNK)
def test_smallest_images(net):
    smallest = {"alex": 31, "vgg": 16}[net]
    metric = LPIPS(data=DataInfo.square(smallest), net=net)
    assert metric(torch.zeros(1, 3, smallest, smallest), torch.ones(1, 3, smallest, smallest)) > 0


@pytest.mark.parametrize("net", TRUNK)
def test_building_draws_no_random_numbers_and_leaves_nothing_to_train(net):
    before = torch.get_rng_state()
    metric = LPIPS(data=DATA, net=net)
    assert torch.equal(torch.get_rng_state(), before)
    assert not any(each.requires_grad or each.is_meta for each in metric.parameters())
    assert not any(module.training for module in metric.network.modules())
    assert metric.trunk.digest in metric.card["trunk"]


@needs_alexnet
def test_first_kernel_is_torchvisions():
    # The beginning of alexnet(...).features[0].weight, as printed by users of torchvision.
    kernel = ALEXNET.load()["features.0.weight"]
    assert kernel.shape == (64, 3, 11, 11)
    torch.testing.assert_close(
        kernel[0, 0, 0, [0, 1, 2, 8, 9, 10]],
        torch.tensor([0.11864, 0.094069, 0.095435, 0.055822, 0.021575, 0.049963]),
        atol=6e-6,
        rtol=0,
    )


@needs_vgg16
def test_published_value_of_another_implementation():
    # TorchMetrics 0.11 documents 0.3493 for this example, whose images are drawn after the network's parameters.
    import lpips
    import torchvision

    torch.manual_seed(123)
    torchvision.models.vgg16(init_weights=False)
    for channels in (64, 128, 256, 512, 512):
        lpips.lpips.NetLinLayer(channels, use_dropout=True)
    first, second = torch.rand(10, 3, 100, 100), torch.rand(10, 3, 100, 100)
    assert LPIPS(data=DATA, net="vgg")(first, second).mean().item() == pytest.approx(0.3493, abs=5e-5)


@pytest.mark.skipif(os.environ.get("ENFACE_TEST_NETWORK") != "1", reason="set ENFACE_TEST_NETWORK=1 to download")
@pytest.mark.parametrize("weights", TRUNKS, ids=lambda weights: weights.name)
def test_fetching(weights, tmp_path, monkeypatch):
    monkeypatch.setenv("ENFACE_CACHE", str(tmp_path))
    monkeypatch.delenv("ENFACE_OFFLINE")
    weights.fetch()
    assert weights.load().keys() == set(weights.tensors)
