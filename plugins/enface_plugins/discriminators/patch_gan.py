"""The patch discriminator of pix2pix."""

from __future__ import annotations

from typing import Annotated, Literal

from annotated_types import Ge, Le
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from enface import DataInfo, Discriminator, RecipeError

Norm = Literal["batch", "instance", "none"]


class PatchGAN(Discriminator):
    """Judges overlapping patches: a convolutional network whose every logit sees only a part of the image.

    4x4 convolutions with LeakyReLU 0.2: ``layers`` of stride 2, then one of stride 1, then one to the logits.
    The first has no norm. With 3 layers a logit sees 70x70 pixels (1: 16, 2: 34, 4: 142). After Isola et al.,
    "Image-to-image translation with conditional adversarial networks", CVPR 2017; unconditional here.

    Shapes: image (N, 3, H, H) in [-1, 1] -> ``logits`` (N, 1, h, h) with h = floor(H / 2^layers) - 2, and
    ``features``: the ``layers + 1`` activations before them, first to last.

    Args:
        width: Channels of the first layer; each further layer has twice as many, up to 8 times.
        layers: Number of stride-2 layers; more of them see larger patches.
        norm: What follows each inner convolution.
        spectral_norm: Whether each convolution is divided by its spectral norm, which bounds how fast the
            critic can change (Miyato et al., ICLR 2018); usually with ``norm: none``.

    Raises:
        RecipeError: when the images are too small for so many layers.
    """

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
        _check_size(data.size, layers)
        widths = [width * min(2**level, 8) for level in range(layers + 1)]
        blocks = [_block(3, width, stride=2, norm="none", spectral=spectral_norm)]
        for level in range(1, layers + 1):
            stride = 2 if level < layers else 1
            blocks.append(_block(widths[level - 1], widths[level], stride, norm, spectral_norm))
        self.blocks = nn.ModuleList(blocks)
        self.judge = _conv(widths[-1], 1, stride=1, bias=True, spectral=spectral_norm)

    def forward(self, image: Tensor) -> dict[str, Tensor | tuple[Tensor, ...]]:
        features = []
        for block in self.blocks:
            image = block(image)
            features.append(image)
        return {"logits": self.judge(image), "features": tuple(features)}


def _check_size(size: int, layers: int) -> None:
    if size >= 3 * 2**layers:
        return
    fitting = max((fewer for fewer in range(1, layers) if size >= 3 * 2**fewer), default=None)
    hint = f"use layers: {fitting} or larger images" if fitting else "use larger images"
    smallest = 3 * 2**layers
    raise RecipeError(
        f"patch_gan with layers: {layers} needs images of at least {smallest} px, these have {size}; {hint}"
    )


def _block(inputs: int, outputs: int, stride: int, norm: Norm, spectral: bool) -> nn.Sequential:
    block = nn.Sequential(_conv(inputs, outputs, stride, bias=norm == "none", spectral=spectral))
    if norm != "none":
        block.append(_norm(outputs, norm))
    return block.append(nn.LeakyReLU(0.2))


def _conv(inputs: int, outputs: int, stride: int, bias: bool, spectral: bool) -> nn.Module:
    conv = nn.Conv2d(inputs, outputs, 4, stride, padding=1, bias=bias)
    nn.init.normal_(conv.weight, 0.0, 0.02)
    if conv.bias is not None:
        nn.init.zeros_(conv.bias)
    return parametrizations.spectral_norm(conv) if spectral else conv


def _norm(channels: int, kind: Norm) -> nn.Module:
    # Affine in both: the paper's instance norm is its batch norm at batch size 1.
    norm = nn.BatchNorm2d(channels) if kind == "batch" else nn.InstanceNorm2d(channels, affine=True)
    nn.init.normal_(norm.weight, 1.0, 0.02)
    return norm
