"""Contrastive loss of patches."""

from __future__ import annotations

from typing import Annotated

import torch
from annotated_types import Ge, Gt
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize

from enface import Loss


class PatchNCE(Loss):
    """Contrastive loss of patches: each should match the source's patch at its position better than the others.

    For features at K positions, scaled to length 1, the cross-entropy of (q_i . k_j) / temperature with the label
    j = i, where q are the output's and k the source's; averaged over positions and layers. After Park et al.,
    "Contrastive learning for unpaired image-to-image translation" (CUT), ECCV 2020, equation 3, with two differences:
    positions are evenly spaced rather than drawn, and there is no learned projection, because a loss has no optimizer.
    It assumes that source and output are aligned, as in changes of light but not of pose, unless ``inputs`` names the
    target's features instead.

    Shapes: two tuples of (N, C, h, w), one tensor per layer -> (N,). Range: [0, inf). Unit: nats; log K if all patches
    look alike.

    Args:
        points: Maximum number of positions per layer.
        temperature: Divisor of the similarities; smaller values sharpen the comparison.
    """

    aliases = ("nce", "info_nce", "cut")
    unit = "per image"
    non_negative = True

    def __init__(self, *, points: Annotated[int, Ge(2)] = 256, temperature: Annotated[float, Gt(0)] = 0.07) -> None:
        super().__init__()
        self.points, self.temperature = points, temperature

    def forward(self, features: tuple[Tensor, ...], output_features: tuple[Tensor, ...]) -> Tensor:
        pairs = zip(features, output_features, strict=True)
        return torch.stack([self._layer(source.detach(), output) for source, output in pairs]).mean(0)

    def _layer(self, source: Tensor, output: Tensor) -> Tensor:
        keys, queries = (normalize(self._sampled(item), dim=-1, eps=1e-6) for item in (source, output))
        logits = queries @ keys.mT / self.temperature
        count, points = logits.shape[:2]
        labels = torch.arange(points, device=logits.device).expand(count, points)
        return cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none").view(count, points).mean(1)

    def _sampled(self, features: Tensor) -> Tensor:
        """(N, C, h, w) -> (N, K, C) at evenly spaced positions."""
        flat = features.flatten(2).mT
        if flat.shape[1] <= self.points:
            return flat
        positions = torch.linspace(0, flat.shape[1] - 1, self.points, device=flat.device).round().long()
        return flat[:, positions]
