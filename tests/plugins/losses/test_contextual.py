"""Contextual loss: by hand, by loops, and its independence of position."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torchvision import models

from enface import DataInfo, RecipeError
from enface_plugins.losses.contextual import Contextual, contextual, stride_for


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "alexnet.pth"
    torch.manual_seed(0)
    state = models.alexnet(weights=None).state_dict()
    torch.save({key: item for key, item in state.items() if key.startswith("features")}, path)
    return path


def loops(output: np.ndarray, target: np.ndarray, bandwidth: float) -> float:
    """The paper's equations 2 to 5 for one image, (C, P) and (C, Q), a pair of features at a time."""
    centre = target.mean(1)
    distances = np.empty((output.shape[1], target.shape[1]))
    for i, one in enumerate(output.T - centre):
        for j, other in enumerate(target.T - centre):
            distances[i, j] = 1 - one @ other / np.linalg.norm(one) / np.linalg.norm(other)
    best = np.zeros(target.shape[1])
    for row in distances:
        weights = np.exp((1 - row / (row.min() + 1e-5)) / bandwidth)
        best = np.maximum(best, weights / weights.sum())
    return -math.log(best.mean())


def test_by_hand():
    # Once centred, the target's features are opposite, and both of the output's equal the first of them: half of the
    # target is matched.
    target = torch.tensor([[[3.0, 1.0], [5.0, 5.0]]])
    output = torch.tensor([[[4.0, 9.0], [5.0, 5.0]]])
    torch.testing.assert_close(contextual(output, target, 0.5), torch.tensor([math.log(2)]))


@pytest.mark.parametrize("bandwidth", [0.1, 0.5, 2.0])
def test_it_is_the_papers_equations(bandwidth):
    draw = torch.Generator().manual_seed(0)
    output, target = (torch.randn(2, 5, count, generator=draw, dtype=torch.float64) for count in (7, 9))
    expected = [loops(one.numpy(), other.numpy(), bandwidth) for one, other in zip(output, target, strict=True)]
    torch.testing.assert_close(contextual(output, target, bandwidth), torch.tensor(expected, dtype=torch.float64))
    output.requires_grad_()
    assert torch.autograd.gradcheck(lambda item: contextual(item, target, bandwidth), (output,))


def test_where_features_are_does_not_matter_and_missing_ones_do():
    draw = torch.Generator().manual_seed(0)
    target = torch.randn(1, 8, 20, generator=draw)
    order = torch.randperm(20, generator=draw)
    torch.testing.assert_close(contextual(target[:, :, order], target, 0.5), torch.zeros(1), atol=1e-5, rtol=0)
    half = target[:, :, :10].repeat(1, 1, 2)
    torch.testing.assert_close(contextual(half, target, 0.5), torch.tensor([math.log(2)]), atol=0.05, rtol=0)


def test_flat_features_have_finite_gradients():
    output = torch.ones(2, 4, 9, requires_grad=True)
    contextual(output, torch.ones(2, 4, 9), 0.5).sum().backward()
    assert output.grad.isfinite().all()


@pytest.mark.parametrize(
    ("height", "width", "points", "stride"), [(24, 24, 576, 1), (24, 24, 575, 2), (5, 5, 9, 2), (64, 48, 100, 6)]
)
def test_the_stride_is_the_least_that_keeps_to_the_points(height, width, points, stride):
    assert stride_for(height, width, points) == stride
    assert math.ceil(height / stride) * math.ceil(width / stride) <= points


def test_it_reads_the_layer_at_a_stride(file):
    params = {"backbone": "alexnet", "weights": file, "layer": "relu1", "data": DataInfo.square(64)}
    loss = Contextual(**params, points=20)
    assert loss.stride == 4
    draw = torch.Generator().manual_seed(1)
    output, target = (torch.rand(2, 3, 64, 64, generator=draw) * 2 - 1 for _ in range(2))
    features = [loss.backbone(image)["relu1"][:, :, ::4, ::4].flatten(2) for image in (output, target)]
    assert features[0].shape == (2, 64, 16)
    expected = [loops(one.double().numpy(), other.double().numpy(), 0.5) for one, other in zip(*features, strict=True)]
    torch.testing.assert_close(loss(output, target), torch.tensor(expected).float(), rtol=1e-3, atol=1e-4)
    target.requires_grad_()
    output.requires_grad_()
    loss(output, target).sum().backward()
    assert output.grad.any()
    assert target.grad is None


def test_a_layer_without_maps_is_an_error(tmp_path):
    torch.manual_seed(0)
    torch.save(models.squeezenet1_1(weights=None).state_dict(), tmp_path / "s.pth")
    with pytest.raises(RecipeError, match="'flatten' of squeezenet1_1 has no maps"):
        Contextual(backbone="squeezenet1_1", weights=tmp_path / "s.pth", layer="flatten", data=DataInfo.square(64))
