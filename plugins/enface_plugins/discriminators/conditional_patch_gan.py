"""A patch discriminator that also sees the source."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import torch
from annotated_types import Ge, Le
from torch import Tensor

from enface import DataInfo, Discriminator
from enface_plugins.discriminators.blocks import (
    DiscriminatorOutput,
    Norm,
    check_patch_size,
    logits_and_features,
    patch_layers,
)


class ConditionalPatchGAN(Discriminator):
    """Patch discriminator on source and image together: a patch must match the source and not only look real.

    The network of ``patch_gan`` on the planes of source and image, in that order, so a logit compares the two at
    one position. Meant for aligned pairs; if the face turns, the two show different parts of it there. Conditional as
    in Isola et al., "Image-to-image translation with conditional adversarial networks", CVPR 2017.
    With 3 layers a logit sees 70x70 pixels (1: 16, 2: 34, 4: 142).

    Shapes: image, source (N, C, H, W) in [-1, 1] -> ``logits`` (N, 1, h, w) with h = floor(H / 2^layers) - 2 and w
    likewise, and ``features``: the ``layers + 1`` activations before them, first to last.

    Args:
        width: Channels of the first layer; each further layer has twice as many, up to 8 times.
        layers: Number of stride-2 layers; more of them see larger patches.
        norm: Normalisation after each inner convolution.
        spectral_norm: Divide each convolution by its spectral norm, which bounds the critic's gradient (Miyato et al.,
            ICLR 2018); usually with ``norm: none``.

    Raises:
        RecipeError: when the images are too small for this number of layers.
    """

    aliases = ("pix2pix", "conditional", "cgan")

    def __init__(
        self,
        *,
        width: Annotated[int, Ge(1)] = 64,
        layers: Annotated[int, Ge(1), Le(6)] = 3,
        norm: Norm = "instance",
        spectral_norm: bool = False,
        data: DataInfo,
    ) -> None:
        super().__init__()
        check_patch_size("conditional_patch_gan", data.size, layers)
        planes = data.channels["source"] + data.channels["target"]
        self.blocks, self.judge = patch_layers(planes, width, layers, norm, spectral_norm)

    @classmethod
    def example(cls, folder: Path) -> Mapping[str, Any]:
        return {"width": 4, "layers": 2}

    def forward(self, image: Tensor, source: Tensor) -> DiscriminatorOutput:
        return logits_and_features(self.blocks, self.judge, torch.cat((source, image), dim=1))
