"""Contrastive loss of patches."""

from __future__ import annotations

from typing import Annotated

import torch
from annotated_types import Ge, Gt
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize

from enface import Loss


class PatchNCE(Loss):
    """Each patch of the output should be recognised, among the image's other patches, by the source's at its place.

    For features at K positions, scaled to length 1, cross-entropy of (q_i . k_j) / temperature with the right answer
    j = i, where q are the output's and k the source's; averaged over positions and layers. After Park et al.,
    "Contrastive learning for unpaired image-to-image translation" (CUT), ECCV 2020, equation 3, with two differences:
    positions are spread evenly rather than drawn, and there is no learnt projection, for a loss has no optimizer. It
    assumes that a place in the source is the same place in the output: for changes of light, not of pose, unless
    ``inputs`` names the target's features instead.

    Shapes: two tuples of (N, C, h, w), one tensor a layer -> (N,). Range: [0, inf). Unit: nats; log K where all
    patches look alike.

    Args:
        points: Positions of each layer, at most.
        temperature: Below 1 sharpens the comparison.
    """

    unit = "per image"
    non_negative = True

    def __init__(self, *, points: Annotated[int, Ge(2)] = 256, temperature: Annotated[float, Gt(0)] = 0.07) -> None:
        super().__init__()
        self.points, self.temperature = points, temperature

    def forward(self, features: tuple[Tensor, ...], output_features: tuple[Tensor, ...]) -> Tensor:
        pairs = zip(features, output_features, strict=True)
        return torch.stack([self._layer(theirs.detach(), ours) for theirs, ours in pairs]).mean(0)

    def _layer(self, theirs: Tensor, ours: Tensor) -> Tensor:
        keys, queries = (normalize(self._spread(item), dim=-1, eps=1e-6) for item in (theirs, ours))
        alike = queries @ keys.mT / self.temperature
        count, places = alike.shape[:2]
        right = torch.arange(places, device=alike.device).expand(count, places)
        return cross_entropy(alike.flatten(0, 1), right.flatten(), reduction="none").view(count, places).mean(1)

    def _spread(self, features: Tensor) -> Tensor:
        """(N, C, h, w) -> (N, K, C) at evenly spread positions."""
        flat = features.flatten(2).mT
        if flat.shape[1] <= self.points:
            return flat
        places = torch.linspace(0, flat.shape[1] - 1, self.points, device=flat.device).round().long()
        return flat[:, places]
