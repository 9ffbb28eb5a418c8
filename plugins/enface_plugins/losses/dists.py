"""Deep image structure and texture similarity, as a loss."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from enface import DataInfo, Loss, WeightsError
from enface_plugins.backbones import assign_weights
from enface_plugins.frozen import Frozen
from enface_plugins.planes import as_rgb, require_rgb
from enface_plugins.pretrained import Weights
from enface_plugins.pretrained.networks import VGG16

PACKAGE = "DISTS_pytorch"
# Of the image and of the last ReLU in each block of VGG-16.
CHANNELS = (3, 64, 128, 256, 512, 512)
CONVOLUTIONS = (2, 2, 3, 3, 3)
# No download source: the file is part of the authors' package, and the digest verifies it.
LEARNED_WEIGHTS = Weights(
    name="dists",
    about="the learned weights of structure and texture in DISTS (12 kB)",
    licence="MIT",
    tensors=("alpha", "beta"),
    sha256="16c34e55cdd951df665541310a7b99bb716cf332d41452c668707851bed5b5af",
    sources=(),
)


class DISTS(Loss):
    """Difference of structure and texture: tolerates resampled textures, which L1 and SSIM penalise.

    1 - sum over channels of the image and five layers of VGG-16 (alpha t + beta s), where t compares the two means
    of a channel, (2 m m' + c) / (m^2 + m'^2 + c), and s its covariance, (2 cov + c) / (v + v' + c); c = 1e-6 and
    VGG's pooling is replaced by a smooth one. After Ding, Ma, Wang and Simoncelli, "Image quality assessment: unifying
    structure and texture similarity", IEEE TPAMI 2022. alpha and beta come with the authors' package (``pip install
    DISTS-pytorch``), VGG's weights with ``enface weights fetch vgg16``. No gradient flows through the target.

    Shapes: output, target (N, 3 or 1, H, W) in [-1, 1] -> (N,). Range: [0, 2], nearly always below 1; 0 for equal
    images. The human ratings it was fitted to were of images whose shorter side is 256 px.

    Raises:
        RecipeError: when the images are neither RGB nor grey.
        WeightsError: when VGG's weights or those of DISTS are missing or damaged.
    """

    unit = "per image"
    distance = True
    non_negative = True

    mean: Tensor
    std: Tensor
    structure: Tensor
    texture: Tensor

    def __init__(self, *, data: DataInfo) -> None:
        super().__init__()
        require_rgb("dists", data)
        learned = _learned_weights()
        with torch.device("meta"):
            network = _trunk()
        tensors = {name.removeprefix("features."): item for name, item in VGG16.load().items()}
        self.trunk = Frozen(assign_weights(network, tensors, f"weights {VGG16.name!r}"))
        total = learned["alpha"].sum() + learned["beta"].sum()
        buffers = {
            "texture": learned["alpha"].flatten() / total,
            "structure": learned["beta"].flatten() / total,
            "mean": torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1),
            "std": torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1),
        }
        for name, value in buffers.items():
            self.register_buffer(name, value, persistent=False)

    @classmethod
    def networks(cls, params: Mapping[str, Any]) -> tuple[str, ...]:
        return (VGG16.name,)

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        with torch.no_grad():
            target_layers = self._features(target)
        layers = zip(self._features(output), target_layers, strict=True)
        textures, structures = zip(*(_similarities(one, other) for one, other in layers), strict=True)
        texture, structure = torch.cat(textures, dim=1), torch.cat(structures, dim=1)
        # Weighted differences rather than 1 - a weighted sum, so that equal images give exactly 0.
        return (self.texture * (1 - texture)).sum(1) + (self.structure * (1 - structure)).sum(1)

    def _features(self, image: Tensor) -> list[Tensor]:
        image = (as_rgb(image) + 1) / 2
        features, layers = (image - self.mean) / self.std, [image]
        for block in _blocks(self.trunk.network):
            for layer in block:
                features = layer(features)
            layers.append(features)
        return layers


class SmoothPool(nn.Module):
    """Halve the size by the root of a weighted mean of squares over 3x3 pixels (a Hann window)."""

    def forward(self, features: Tensor) -> Tensor:
        row = features.new_tensor([0.25, 0.5, 0.25])
        window = torch.outer(row, row).expand(features.shape[1], 1, 3, 3)
        squares = functional.conv2d(features.square(), window, stride=2, padding=1, groups=features.shape[1])
        return (squares + 1e-12).sqrt()


def _trunk() -> nn.Sequential:
    """Return VGG-16's convolutions, numbered as in torchvision, with smooth pooling."""
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


def _similarities(one: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
    """Return the similarity of each channel's mean (texture) and of its variation (structure): (N, C) each."""
    mean, mean_other = one.mean((2, 3), keepdim=True), other.mean((2, 3), keepdim=True)
    centred, centred_other = one - mean, other - mean_other
    texture = (2 * mean * mean_other + 1e-6) / (mean.square() + mean_other.square() + 1e-6)
    # From centred values: the rounding error of a difference of large products would exceed the constant.
    covariance = (centred * centred_other).mean((2, 3))
    variances = centred.square().mean((2, 3)) + centred_other.square().mean((2, 3))
    return texture.flatten(1), (2 * covariance + 1e-6) / (variances + 1e-6)


def _learned_weights() -> dict[str, Tensor]:
    # Located without importing the package, whose network would download VGG.
    spec = find_spec(PACKAGE)
    file = Path(spec.origin or "").parent / "weights.pt" if spec else None
    if file is None or not file.is_file():
        raise WeightsError("the learned weights of DISTS are missing: pip install DISTS-pytorch (12 kB)")
    try:
        content = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # Damaged files raise errors of many types.
        raise WeightsError(f"{file}: cannot be read ({type(error).__name__}); reinstall DISTS-pytorch") from error
    return LEARNED_WEIGHTS.check(content, file)
