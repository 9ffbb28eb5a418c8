"""Losses and metrics of pretrained networks, by their authors' packages and torchvision in float64.

The trunks are the cached files that ``enface weights fetch`` writes, read as plain tensors. Images are (N, 3, H, W) in
[-1, 1]; gradients are autograd's.
"""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import patch

import torch
from safetensors.torch import load_file
from torch.nn.functional import normalize
from torchvision import models

WEIGHTS = Path(os.environ.get("ENFACE_CACHE", "~/.cache/enface")).expanduser() / "weights"
# The paper's names of layers of torchvision's ``features``.
VGG = {"relu1_1": 1, "relu2_1": 6, "relu3_1": 11, "relu3_2": 13, "relu3_3": 15, "relu4_1": 18, "relu5_1": 25}
ALEX = {"relu1": 1, "relu2": 4, "relu3": 7, "relu4": 9, "relu5": 11}
MEAN, STD = (torch.tensor(item).double()[:, None, None] for item in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))


def trunk(name):
    """torchvision's convolutions with the cached weights, in float64 and not in place."""
    features = getattr(models, name)(weights=None).features
    tensors = load_file(WEIGHTS / f"{name}.safetensors")
    features.load_state_dict({key.removeprefix("features."): item for key, item in tensors.items()})
    for layer in features:
        if isinstance(layer, torch.nn.ReLU):
            layer.inplace = False
    return features.double().eval().requires_grad_(False)


def lpips(output, target, net, spatial=False):
    """The lpips package: ``LPIPS(net=net, spatial=spatial)``."""
    import lpips as package

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        network = package.LPIPS(net=net, spatial=spatial, pnet_rand=True, verbose=False)
    layers = trunk({"alex": "alexnet", "vgg": "vgg16"}[net])
    for part in [getattr(network.net, f"slice{number}") for number in range(1, 6)]:
        for position, layer in part.named_children():
            layer.load_state_dict(layers[int(position)].state_dict())
    value = network.double().eval()(output, target)
    return value if spatial else value.flatten()


def dists(output, target):
    """The authors' package DISTS_pytorch with its own learned weights."""
    import DISTS_pytorch
    from DISTS_pytorch import DISTS_pt

    model = SimpleNamespace(features=trunk("vgg16"))
    with patch.object(DISTS_pt.models, "vgg16", lambda **_: model):
        network = DISTS_pt.DISTS(load_weights=False).double()
    learned = torch.load(Path(DISTS_pytorch.__file__).parent / "weights.pt", weights_only=True)
    network.alpha.data, network.beta.data = learned["alpha"].double(), learned["beta"].double()
    return network((output + 1) / 2, (target + 1) / 2, require_grad=True)


def perceptual(output, target, backbone, layers, distance="l1", style=0.0):
    """Weighted distances of features and, after Gatys et al., of their Gram matrices."""
    one, other = (_features(item, backbone, layers) for item in (output, target))
    total = 0
    for layer, weight in layers.items():
        error = one[layer] - other[layer]
        part = (error.abs() if distance == "l1" else error**2).mean((1, 2, 3))
        if style:
            grams = [torch.einsum("nahw,nbhw->nab", item[layer], item[layer]) for item in (one, other)]
            part = part + style * ((grams[0] - grams[1]) / one[layer][0].numel()).pow(2).sum((1, 2))
        total = total + weight * part
    return total


def contextual(output, target, layer, bandwidth):
    """The paper's similarity with cosine distances, features centred by the mean of each target's."""
    one, other = (_features(item, "vgg16", [layer])[layer] for item in (output, target))
    return torch.stack(
        [_contextual(x.flatten(1).T, y.flatten(1).T, bandwidth) for x, y in zip(one, other, strict=True)]
    )


def _contextual(x, y, bandwidth):
    centre = y.mean(0)
    distance = 1 - normalize(x - centre, dim=1) @ normalize(y - centre, dim=1).T
    relative = distance / (distance.min(dim=1, keepdim=True).values + 1e-5)
    weight = torch.exp((1 - relative) / bandwidth)
    return -torch.log((weight / weight.sum(1, keepdim=True)).max(0).values.mean())


def _features(image, backbone, layers):
    names = VGG if backbone.startswith("vgg") else ALEX
    found, features = {}, ((image + 1) / 2 - MEAN) / STD
    for position, layer in enumerate(trunk(backbone)):
        features = layer(features)
        found |= {name: features for name in layers if names[name] == position}
    return found
