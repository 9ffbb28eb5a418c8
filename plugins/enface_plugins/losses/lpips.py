"""Learned perceptual image patch similarity, as a loss."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional

from enface import DataInfo, Loss
from enface_plugins.frozen import Frozen
from enface_plugins.planes import as_rgb, require_rgb, require_side
from enface_plugins.pretrained.networks import SMALLEST, TRUNK_OF, Trunk, lpips_network


class LPIPS(Loss):
    """Distance of deep features, weighted to match human ratings; version 0.1 with the lpips package's weights.

    At five layers: the squared difference of features scaled to length 1 at each position, with learned weights of
    the channels. After Zhang, Isola, Efros, Shechtman and Wang, "The unreasonable effectiveness of deep features as a
    perceptual metric", CVPR 2018. Equal to the ``lpips`` metric; measure with another trunk than the one trained on.
    No gradient flows through the target.

    Shapes: output, target (N, 3 or 1, H, W) in [-1, 1] -> (N,), or (N, 1, H, W) with ``spatial``. Range: [0, inf),
    below 1 for most pairs of photographs.

    Args:
        net: The trunk: ``vgg`` (the authors' choice for optimising) or ``alex``; their values are not comparable.
        spatial: Return the layers' maps, enlarged to the image and summed, as a mask needs; otherwise sum their means.

    Raises:
        WeightsError: when the trunk's weights are missing or damaged: ``enface weights fetch``.
        RecipeError: when the images are too small for the trunk, or neither RGB nor grey.
    """

    distance = True
    non_negative = True

    def __init__(self, *, net: Literal["alex", "vgg"] = "vgg", spatial: bool = False, data: DataInfo) -> None:
        super().__init__()
        require_rgb("lpips", data)
        require_side(f"lpips with net: {net}", data, SMALLEST[net])
        self.spatial = spatial
        self.frozen = Frozen(lpips_network(net))

    @classmethod
    def networks(cls, params: Mapping[str, Any]) -> tuple[str, ...]:
        trunk: Trunk = params.get("net", "vgg")
        return (TRUNK_OF[trunk].name,)

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        with torch.no_grad():
            target_features = self._features(target)
        layers = zip(self.frozen.network.lins, self._features(output), target_features, strict=True)
        errors = [weigh((one - other).square()) for weigh, one, other in layers]
        if not self.spatial:
            return sum(error.mean((1, 2, 3)) for error in errors)
        side = output.shape[-2:]
        return sum(functional.interpolate(error, side, mode="bilinear", align_corners=False) for error in errors)

    def _features(self, image: Tensor) -> list[Tensor]:
        network = self.frozen.network
        return [_unit(features) for features in network.net(network.scaling_layer(as_rgb(image)))]


def _unit(features: Tensor) -> Tensor:
    # The package takes sqrt(sum of squares), whose gradient is NaN where every channel is 0, unless the ReLU before it
    # drops it.
    return features / (torch.linalg.vector_norm(features, dim=1, keepdim=True) + 1e-10)
