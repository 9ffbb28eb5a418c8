"""The patch discriminator of pix2pix."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

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


class PatchGAN(Discriminator):
    """Patch discriminator: a convolutional network in which each logit sees only a part of the image.

    4x4 convolutions with LeakyReLU 0.2: ``layers`` of stride 2, then one of stride 1, then one to the logits.
    The first has no norm. With 3 layers a logit sees 70x70 pixels (1: 16, 2: 34, 4: 142). After Isola et al.,
    "Image-to-image translation with conditional adversarial networks", CVPR 2017; unconditional here.

    Shapes: image (N, C, H, W) in [-1, 1] -> ``logits`` (N, 1, h, w) with h = floor(H / 2^layers) - 2 and w
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

    aliases = ("basic", "n_layers", "nlayer", "patch", "pix2pix")

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
        check_patch_size("patch_gan", data.size, layers)
        self.blocks, self.judge = patch_layers(data.channels["target"], width, layers, norm, spectral_norm)

    @classmethod
    def example(cls, folder: Path) -> Mapping[str, Any]:
        return {"width": 4, "layers": 2}

    def forward(self, image: Tensor) -> DiscriminatorOutput:
        return logits_and_features(self.blocks, self.judge, image)
