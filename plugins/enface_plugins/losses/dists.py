"""Deep image structure and texture similarity, as a loss."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from enface import Loss, Weights, WeightsError
from enface_plugins.backbones import fill
from enface_plugins.frozen import Frozen
from enface_plugins.metrics.pretrained import VGG16

PACKAGE = "DISTS_pytorch"
# Of the image itself and of the last ReLU in each of VGG-16's blocks.
CHANNELS = (3, 64, 128, 256, 512, 512)
CONVOLUTIONS = (2, 2, 3, 3, 3)
# No source of its own: it comes inside its authors' package, and its digest says whether it is what it was.
LEARNT = Weights(
    name="dists",
    about="the weights of structure and texture that DISTS has learnt (12 kB)",
    licence="MIT",
    tensors=("alpha", "beta"),
    sha256="16c34e55cdd951df665541310a7b99bb716cf332d41452c668707851bed5b5af",
    sources=(),
)


class DISTS(Loss):
    """Difference of structure and texture: tolerates a texture drawn anew where L1 or SSIM would not.

    1 - sum over channels of the image and five layers of VGG-16 (alpha t + beta s), where t compares the two means
    of a channel, (2 m m' + c) / (m^2 + m'^2 + c), and s its covariance, (2 cov + c) / (v + v' + c); c = 1e-6 and
    VGG's pooling is replaced by a smooth one. Ding, Ma, Wang and Simoncelli, "Image quality assessment: unifying
    structure and texture similarity", IEEE TPAMI 2022. alpha and beta come with the authors' package (``pip install
    DISTS-pytorch``), VGG by ``enface weights fetch vgg16``. The target's features take no gradient.

    Shapes: output, target (N, 3, H, W) in [-1, 1] -> (N,). Range: [0, 2], nearly always below 1; 0 for equal images.
    People's judgements were given on images whose shorter side is 256 px.

    Raises:
        WeightsError: when VGG's weights or the package with DISTS' own are missing or not what they should be.
    """

    unit = "per image"
    distance = True
    non_negative = True

    mean: Tensor
    std: Tensor
    structure: Tensor
    texture: Tensor

    def __init__(self) -> None:
        super().__init__()
        learnt = _learnt()
        with torch.device("meta"):
            network = _trunk()
        tensors = {name.removeprefix("features."): item for name, item in VGG16.load().items()}
        self.trunk = Frozen(fill(network, tensors, f"weights {VGG16.name!r}"))
        total = learnt["alpha"].sum() + learnt["beta"].sum()
        numbers = {
            "texture": learnt["alpha"].flatten() / total,
            "structure": learnt["beta"].flatten() / total,
            "mean": torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1),
            "std": torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1),
        }
        for name, value in numbers.items():
            self.register_buffer(name, value, persistent=False)

    @classmethod
    def networks(cls, params: Mapping[str, Any]) -> tuple[str, ...]:
        return (VGG16.name,)

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        with torch.no_grad():
            wanted = self._features(target)
        likeness = zip(
            *(_likeness(one, other) for one, other in zip(self._features(output), wanted, strict=True)), strict=True
        )
        texture, structure = (torch.cat(item, dim=1) for item in likeness)
        # Weighted differences rather than 1 - a weighted sum, so that equal images give 0 to the last bit.
        return (self.texture * (1 - texture)).sum(1) + (self.structure * (1 - structure)).sum(1)

    def _features(self, image: Tensor) -> list[Tensor]:
        image = (image + 1) / 2
        features, found = (image - self.mean) / self.std, [image]
        for block in _blocks(self.trunk.network):
            for layer in block:
                features = layer(features)
            found.append(features)
        return found


class SmoothPool(nn.Module):
    """Half the size by the root of a weighted mean of squares over 3x3 pixels (a Hann window)."""

    def forward(self, features: Tensor) -> Tensor:
        row = features.new_tensor([0.25, 0.5, 0.25])
        window = torch.outer(row, row).expand(features.shape[1], 1, 3, 3)
        squares = functional.conv2d(features.square(), window, stride=2, padding=1, groups=features.shape[1])
        return (squares + 1e-12).sqrt()


def _trunk() -> nn.Sequential:
    """VGG-16's convolutions at torchvision's places, with smooth pooling."""
    layers, inputs = nn.Sequential(), 3
    for block, (channels, count) in enumerate(zip(CHANNELS[1:], CONVOLUTIONS, strict=True)):
        if block:
            layers.append(SmoothPool())
        for _ in range(count):
            layers.append(nn.Conv2d(inputs, channels, 3, padding=1)).append(nn.ReLU())
            inputs = channels
    return layers


def _blocks(layers: nn.Module) -> list[list[nn.Module]]:
    blocks: list[list[nn.Module]] = [[]]
    for layer in layers.children():
        if isinstance(layer, SmoothPool):
            blocks.append([])
        blocks[-1].append(layer)
    return blocks


def _likeness(one: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
    """How alike the means of each channel are and how it goes up and down together: (N, C) each."""
    mean, mean_other = one.mean((2, 3), keepdim=True), other.mean((2, 3), keepdim=True)
    apart, apart_other = one - mean, other - mean_other
    texture = (2 * mean * mean_other + 1e-6) / (mean.square() + mean_other.square() + 1e-6)
    # Of differences from the mean: a difference of large products would drown the constant in rounding.
    covariance = (apart * apart_other).mean((2, 3))
    variances = apart.square().mean((2, 3)) + apart_other.square().mean((2, 3))
    return texture.flatten(1), (2 * covariance + 1e-6) / (variances + 1e-6)


def _learnt() -> dict[str, Tensor]:
    # Found without importing the package, whose network would be downloaded.
    found = find_spec(PACKAGE)
    file = Path(found.origin or "").parent / "weights.pt" if found else None
    if file is None or not file.is_file():
        raise WeightsError("the weights that DISTS has learnt are missing: pip install DISTS-pytorch (12 kB)")
    try:
        content = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # A damaged file fails in as many ways as there are formats.
        raise WeightsError(f"{file}: cannot be read ({type(error).__name__}); reinstall DISTS-pytorch") from error
    return LEARNT.check(content, file)
