"""The U-Net discriminator."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from annotated_types import Ge, Le
from torch import Tensor, nn
from torch.nn import functional

from enface import DataInfo, Discriminator, RecipeError, px
from enface_plugins.discriminators.blocks import DiscriminatorOutput, block, conv
from enface_plugins.planes import nearest_sizes


class UnetGAN(Discriminator):
    """U-Net discriminator: an encoder, and a decoder with skips that gives a logit for every pixel.

    A 3x3 convolution; ``levels`` 4x4 ones of stride 2, each with twice the channels; as many bilinear enlargements with
    a 3x3 convolution, each followed by adding the encoder's activations of that size; then two more 3x3 convolutions
    and one to the logits. LeakyReLU 0.2 lies between them, and all but the first and the last have spectral norm. With
    3 levels a logit sees 56x56 to 64x64 pixels, depending on its position on the coarse maps (1: 16; 2: 28 to 32).
    After Wang et al., "Real-ESRGAN: training real-world blind super-resolution with pure synthetic data", ICCVW 2021.
    That simplifies Schoenfeld et al., "A U-Net based discriminator for generative adversarial networks", CVPR 2020,
    without the encoder's logit for the whole image and the mixing of real and fake images.

    Shapes: image (N, C, H, W) in [-1, 1] -> ``logits`` (N, 1, H, W), and ``features``: the ``2 levels + 1``
    activations of encoder and decoder, first to last, at 1, 1/2, ..., 1/2^levels, ..., 1/2, 1 of the size.

    Args:
        width: Channels at full size; each level has twice as many.
        levels: Number of times the size is halved.

    Raises:
        RecipeError: when height or width is not a multiple of 2^levels.
    """

    aliases = ("unet", "unet_discriminator_sn", "real_esrgan")

    def __init__(
        self, *, width: Annotated[int, Ge(1)] = 64, levels: Annotated[int, Ge(1), Le(6)] = 3, data: DataInfo
    ) -> None:
        super().__init__()
        _check_size(data.size, levels)
        widths = [width * 2**level for level in range(levels + 1)]
        self.first = nn.Sequential(conv(data.channels["target"], width, kernel=3), nn.LeakyReLU(0.2))
        self.down = nn.ModuleList(_block(widths[i], widths[i + 1], stride=2) for i in range(levels))
        self.up = nn.ModuleList(_block(widths[i + 1], widths[i]) for i in reversed(range(levels)))
        self.judge = nn.Sequential(_block(width, width), _block(width, width), conv(width, 1, kernel=3))
        # Spectral norm cancels the scale of weights. These two layers have none, so N(0, 0.02) would shrink the signal.
        for layer in (self.first[0], self.judge[-1]):
            nn.init.kaiming_normal_(layer.weight, a=0.2)

    @classmethod
    def example(cls, folder: Path) -> Mapping[str, Any]:
        return {"width": 4, "levels": 1}

    def forward(self, image: Tensor) -> DiscriminatorOutput:
        encoded = [self.first(image)]
        for down in self.down:
            encoded.append(down(encoded[-1]))
        features, decoded = list(encoded), encoded.pop()
        for up in self.up:
            larger = functional.interpolate(decoded, scale_factor=2, mode="bilinear")
            decoded = up(larger) + encoded.pop()
            features.append(decoded)
        return {"logits": self.judge(decoded), "features": tuple(features)}


def _block(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return block(inputs, outputs, "none", kernel=4 if stride == 2 else 3, stride=stride, spectral=True)


def _check_size(size: tuple[int, int], levels: int) -> None:
    multiple = 2**levels
    if all(side % multiple == 0 for side in size):
        return
    fewer = max((level for level in range(1, levels) if all(side % 2**level == 0 for side in size)), default=None)
    sizes = f"size: {nearest_sizes(size, multiple, multiple)}"
    hint = f"levels: {fewer}, or {sizes}" if fewer else sizes
    raise RecipeError(
        f"unet_gan with levels: {levels} needs images whose height and width are a multiple of {multiple}, "
        f"these have {px(size)}; use {hint}"
    )
