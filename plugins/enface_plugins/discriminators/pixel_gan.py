"""The pixel discriminator of pix2pix."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from annotated_types import Ge
from torch import Tensor, nn

from enface import DataInfo, Discriminator
from enface_plugins.discriminators.blocks import DiscriminatorOutput, Norm, block, conv, logits_and_features


class PixelGAN(Discriminator):
    """Pixel discriminator: it learns which colours occur, but nothing about shape.

    Three 1x1 convolutions, to ``width``, twice that, and the logits, with LeakyReLU 0.2 between them; the second has a
    norm. A logit sees one pixel and, through the norm's statistics, its difference from the rest of the image
    (``instance``) or batch. After Isola et al., "Image-to-image translation with conditional adversarial networks",
    CVPR 2017, where it increased colourfulness but not sharpness; unconditional here.

    Shapes: image (N, C, H, W) in [-1, 1] -> ``logits`` (N, 1, H, W), and ``features``: the two activations before
    them, (N, width, H, W) and (N, 2 width, H, W).

    Args:
        width: Channels of the first layer.
        norm: Normalisation after the second convolution.
        spectral_norm: Divide each convolution by its spectral norm, which bounds the critic's gradient (Miyato et al.,
            ICLR 2018); usually with ``norm: none``.
    """

    aliases = ("pixel",)

    def __init__(
        self,
        *,
        width: Annotated[int, Ge(1)] = 64,
        norm: Norm = "instance",
        spectral_norm: bool = False,
        data: DataInfo,
    ) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            [
                block(data.channels["target"], width, "none", kernel=1, spectral=spectral_norm),
                block(width, 2 * width, norm, kernel=1, spectral=spectral_norm),
            ]
        )
        self.judge = conv(2 * width, 1, kernel=1, spectral=spectral_norm)

    @classmethod
    def example(cls, folder: Path) -> Mapping[str, Any]:
        return {"width": 4}

    def forward(self, image: Tensor) -> DiscriminatorOutput:
        return logits_and_features(self.blocks, self.judge, image)
