"""Learned perceptual image patch similarity."""

from __future__ import annotations

import math
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from enface import DataInfo, Metric, weighted_mean
from enface_plugins.metrics.cards import rgb_text
from enface_plugins.planes import as_rgb, require_rgb, require_side
from enface_plugins.pretrained.networks import SMALLEST, TRUNK_OF, Trunk, lpips_network


class LPIPS(Metric):
    """Distance of deep features, weighted to match human judgements; version 0.1 of the lpips package.

    Zhang, Isola, Efros, Shechtman and Wang, "The unreasonable effectiveness of deep features as a perceptual
    metric", CVPR 2018. Its trunk needs pretrained weights: ``enface weights fetch``.

    Over a region: the sum over layers of the weighted mean of each layer's map, with the weights averaged down to its
    size. Deep layers have large receptive fields (195 px at AlexNet's last), so pixels outside the region contribute.

    Shapes: output, target (N, 3 or 1, H, W) in [0, 1] -> (N,). Range: [0, inf), 0 for equal images.

    Args:
        net: The trunk: ``alex`` (the authors' choice for evaluation) or ``vgg``; their values are not comparable.

    Raises:
        WeightsError: when the trunk's weights are missing or damaged.
        RecipeError: when the images are too small for the trunk, or neither RGB nor grey.
    """

    higher_is_better: ClassVar[bool] = False
    default: ClassVar[bool] = True
    bounds: ClassVar[tuple[float, float]] = (0.0, math.inf)

    def __init__(self, *, data: DataInfo, net: Literal["alex", "vgg"] = "alex") -> None:
        super().__init__()
        require_rgb("lpips", data)
        require_side(f"lpips with net: {net}", data, SMALLEST[net])
        self.data = data
        self.trunk = TRUNK_OF[net]
        # The fastest layout for convolutions on a CPU.
        self.network = lpips_network(net).to(memory_format=torch.channels_last)

    @classmethod
    def networks(cls, params: Mapping[str, Any]) -> tuple[str, ...]:
        trunk: Trunk = params.get("net", "alex")
        return (TRUNK_OF[trunk].name,)

    @property
    def card(self) -> dict[str, str]:
        return {
            "implementation": f"lpips {version('lpips')}, LPIPS version {self.network.version}",
            "trunk": f"{self.trunk.name}, weights {self.trunk.digest}",
            "data_range": "1, shown to the network as [-1, 1]",
            "colour": rgb_text(self.data),
            "crop": "none",
            "resize": "none",
        }

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        return torch.stack([layer.mean((1, 2, 3)) for layer in self._maps(output, target)]).sum(0)

    def regional(self, output: Tensor, target: Tensor, weights: Tensor) -> Tensor:
        return torch.stack([weighted_mean(layer, weights) for layer in self._maps(output, target)]).sum(0)

    def _maps(self, output: Tensor, target: Tensor) -> list[Tensor]:
        """The distance map of each layer, (N, 1, h, w)."""
        from lpips import normalize_tensor

        network = self.network
        # One pass for both, because with few images preparing the weights takes a good part of the time.
        layers = network.net(network.scaling_layer(2 * as_rgb(torch.cat([output, target])) - 1))
        halves = (normalize_tensor(layer).chunk(2) for layer in layers)
        return [lin((one - other).square()) for lin, (one, other) in zip(network.lins, halves, strict=True)]
