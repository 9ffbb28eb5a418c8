"""Learned perceptual image patch similarity, as a loss."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional

from enface import DataInfo, Loss, RecipeError
from enface_plugins.frozen import Frozen
from enface_plugins.metrics.lpips import SMALLEST
from enface_plugins.metrics.pretrained import TRUNK_OF, Trunk, lpips_network


class LPIPS(Loss):
    """Distance of deep features, weighted as people judge it; version 0.1, the weights of the lpips package.

    At five layers: the squared difference of features scaled to length 1 at each position, in the learned weighting
    of channels. Zhang, Isola, Efros, Shechtman and Wang, "The unreasonable effectiveness of deep features as a
    perceptual metric", CVPR 2018. Equal to the ``lpips`` metric; what is trained on one trunk should be judged with
    the other. The target's features take no gradient.

    Shapes: output, target (N, 3, H, W) in [-1, 1] -> (N,), or (N, 1, H, W) with ``spatial``. Range: [0, inf), below 1
    for most pairs of photographs.

    Args:
        net: The trunk: ``vgg`` (the authors' choice for optimising) or ``alex``; their numbers do not compare.
        spatial: Give a map, each layer's enlarged to the image, for a term with a mask; otherwise its mean per layer.

    Raises:
        WeightsError: when the trunk's weights are missing or damaged: ``enface weights fetch``.
        RecipeError: when the images are too small for the trunk.
    """

    distance = True
    non_negative = True

    def __init__(self, *, net: Literal["alex", "vgg"] = "vgg", spatial: bool = False, data: DataInfo) -> None:
        super().__init__()
        if data.size < SMALLEST[net]:
            raise RecipeError(
                f"lpips with net: {net} needs images of at least {SMALLEST[net]} px; these have {data.size}"
            )
        self.spatial = spatial
        self.still = Frozen(lpips_network(net))

    @classmethod
    def networks(cls, params: Mapping[str, Any]) -> tuple[str, ...]:
        trunk: Trunk = params.get("net", "vgg")
        return (TRUNK_OF[trunk].name,)

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        with torch.no_grad():
            wanted = self._directions(target)
        weigh = self.still.network.lins
        errors = [
            lin((one - other).square()) for lin, one, other in zip(weigh, self._directions(output), wanted, strict=True)
        ]
        if not self.spatial:
            return sum(error.mean((1, 2, 3)) for error in errors)
        side = output.shape[-2:]
        return sum(functional.interpolate(error, side, mode="bilinear", align_corners=False) for error in errors)

    def _directions(self, image: Tensor) -> list[Tensor]:
        network = self.still.network
        return [_unit(features) for features in network.net(network.scaling_layer(image))]


def _unit(features: Tensor) -> Tensor:
    # The package's own takes sqrt(sum of squares), whose gradient is NaN where every channel is 0 (and goes no
    # further only where a ReLU's kernel drops it).
    return features / (torch.linalg.vector_norm(features, dim=1, keepdim=True) + 1e-10)
