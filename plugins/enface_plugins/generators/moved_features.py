"""Features of images, moved along a flow and decoded into corrections of it."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from enface_plugins.generators.blocks import averaged, crop_like
from enface_plugins.generators.sampling import sample

SIZES = 3
"""Resolutions of the features: full, half and quarter."""
STEP = 0.25
"""Factor from the decoder's values to corrections of the flow, in halves of the image."""


class MovedFeatures(nn.Module):
    """Corrects flow, painted image and masks by features of the images that were moved along the flow.

    Each image is encoded at three resolutions by the same convolutions. At each, the features of all images are moved,
    weighed by their masks and added; the decoder goes from the coarsest to the finest. A new network corrects nothing.
    After the feature warping of FFWM (Wei et al., ECCV 2020).

    Args:
        planes: Planes of the images.
        width: Channels at full size; twice and four times as many at half and quarter size.
        split: Planes of the flows, of the painted image, and of the masks.
    """

    def __init__(self, planes: int, width: int, split: tuple[int, int, int]) -> None:
        super().__init__()
        self._split = split
        widths = [width * 2**level for level in range(SIZES)]
        inputs = [planes, *widths]
        self.encoder = nn.ModuleList(
            _conv(inputs[level], widths[level], stride=2 if level else 1) for level in range(SIZES)
        )
        coarser = [*widths[1:], 0]
        self.decoder = nn.ModuleList(_conv(widths[level] + coarser[level], widths[level]) for level in range(SIZES))
        self.last = nn.Conv2d(width, sum(split), 3, padding=1)
        nn.init.zeros_(self.last.weight)
        assert self.last.bias is not None
        nn.init.zeros_(self.last.bias)

    def forward(self, images: Tensor, flow: Tensor, painted: Tensor, logits: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Correct flow, painted image and logits of the masks.

        Args:
            images: (N, K, C, H, W).
            flow: (N, 2 K, H, W) in halves of the image.
            painted: (N, C, H, W) in [-1, 1].
            logits: (N, K + 1, H, W).
        """
        count = images.shape[1]
        features, masks = images.flatten(0, 1), logits.softmax(1)[:, :count]
        flows = flow.unflatten(1, (count, 2)).flatten(0, 1)
        fields = [averaged(flows, level) for level in range(SIZES)]
        levels = []
        for layer in self.encoder:
            features = layer(features)
            levels.append(features)
        decoded: Tensor | None = None
        for level in reversed(range(SIZES)):
            moved = sample(levels[level].float(), fields[level]).unflatten(0, (-1, count))
            weights = averaged(masks, level)
            joined = (moved * weights[:, :, None]).sum(1)
            if decoded is not None:
                joined = torch.cat([joined, crop_like(interpolate(decoded, scale_factor=2.0), joined)], dim=1)
            decoded = self.decoder[level](joined)
        assert decoded is not None
        steps, more, further = torch.split(self.last(decoded).float(), self._split, dim=1)
        # Within the range of the trunk's tanh.
        return flow + STEP * steps, (painted + more).clamp(-1, 1), logits + further


def _conv(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, stride, padding=1), nn.BatchNorm2d(outputs), nn.ReLU())
