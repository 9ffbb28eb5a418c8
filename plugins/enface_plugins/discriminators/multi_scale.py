"""Patch discriminators at several scales."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

from annotated_types import Ge, Le
from torch import Tensor, nn
from torch.nn import functional

from enface import DataInfo, Discriminator, RecipeError, px
from enface_plugins.discriminators.blocks import Norm, smallest_size
from enface_plugins.discriminators.patch_gan import PatchGAN


class MultiScale(Discriminator):
    """Patch discriminators at several scales: the first sees texture, the last whole facial features.

    One ``patch_gan`` per scale, each with its own weights. Images are halved by averaging 3x3 pixels at every second
    one, padding excluded. A logit that sees r pixels sees 2 r + 1 at the next scale: 70, 141, 283 with 3 layers (16,
    33, 67 with 1). After Wang et al., "High-resolution image synthesis and semantic manipulation with
    conditional GANs" (pix2pixHD), CVPR 2018, which has three scales, for larger images; unconditional here.

    Shapes: image (N, C, H, W) in [-1, 1] -> ``logits``: a tensor for each scale, the full size first, as ``patch_gan``
    gives for images of that size, half the size, ... rounded up; and ``features``: the ``layers + 1`` activations of
    the first scale, then the second's, and so on.

    Args:
        scales: Number of discriminators.
        width: Channels of each one's first layer; each further layer has twice as many, up to 8 times.
        layers: Number of stride-2 layers in each; more of them see larger patches.
        norm: Normalisation after each inner convolution.
        spectral_norm: Divide each convolution by its spectral norm, which bounds the critic's gradient (Miyato et al.,
            ICLR 2018); usually with ``norm: none``.

    Raises:
        RecipeError: when the images are too small for this number of scales and layers.
    """

    aliases = ("pix2pixhd", "multiscale")

    def __init__(
        self,
        *,
        scales: Annotated[int, Ge(1), Le(5)] = 2,
        width: Annotated[int, Ge(1)] = 64,
        layers: Annotated[int, Ge(1), Le(6)] = 3,
        norm: Norm = "instance",
        spectral_norm: bool = False,
        data: DataInfo,
    ) -> None:
        super().__init__()
        _check_size(data.size, scales, layers)
        self.logit_scales = scales
        self.scales = nn.ModuleList(
            PatchGAN(width=width, layers=layers, norm=norm, spectral_norm=spectral_norm, data=_halved(data, times))
            for times in range(scales)
        )

    @classmethod
    def example(cls, folder: Path) -> Mapping[str, Any]:
        return {"width": 4, "layers": 2}

    def forward(self, image: Tensor) -> dict[str, tuple[Tensor, ...]]:
        logits: list[Tensor] = []
        features: list[Tensor] = []
        for number, critic in enumerate(self.scales):
            if number:
                image = functional.avg_pool2d(image, 3, stride=2, padding=1, count_include_pad=False)
            output = critic(image)
            logits.append(output["logits"])
            features += output["features"]
        return {"logits": tuple(logits), "features": tuple(features)}


def _halved(data: DataInfo, times: int) -> DataInfo:
    """Return the facts of images halved several times, rounded up."""
    height, width = (-(-side // 2**times) for side in data.size)
    return replace(data, size=(height, width))


def _check_size(size: tuple[int, int], scales: int, layers: int) -> None:
    shorter = min(size)
    if shorter >= _smallest(scales, layers):
        return
    fewer = max((number for number in range(1, scales) if shorter >= _smallest(number, layers)), default=None)
    flatter = max((number for number in range(1, layers) if shorter >= _smallest(scales, number)), default=None)
    fitting = [f"scales: {fewer}"] * bool(fewer) + [f"layers: {flatter}"] * bool(flatter)
    hint = ", ".join([*fitting, "or larger images"]) if fitting else "larger images"
    raise RecipeError(
        f"multi_scale with scales: {scales} and layers: {layers} needs images of at least "
        f"{_smallest(scales, layers)} px, these have {px(size)}; use {hint}"
    )


def _smallest(scales: int, layers: int) -> int:
    # Halves are rounded up, so one pixel more than the largest size that is too small suffices.
    return (smallest_size(layers) - 1) * 2 ** (scales - 1) + 1
