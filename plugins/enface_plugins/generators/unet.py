"""The U-Net generator of pix2pix."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from annotated_types import Ge, Le, Lt
from torch import Tensor, nn

from enface import DataInfo, Generator
from enface_plugins.generators.blocks import check_multiple, initialize
from enface_plugins.generators.gradient_checkpointing import CheckpointedSequential

Norm = Literal["batch", "instance"]


class Unet(Generator):
    """An encoder and a decoder with skips between layers of the same size.

    Down by 4x4 convolutions of stride 2 with LeakyReLU 0.2, up by 4x4 transposed ones with ReLU, tanh at the
    end. The skips carry the source's layout, which helps if output and source are aligned and may hinder if the
    face turns. After Isola et al., "Image-to-image translation with conditional adversarial
    networks", CVPR 2017; the paper's norm is ``batch``.

    Provides: ``output`` (N, C, H, W) in [-1, 1] of ``source``. Parts: ``encoder``, ``decoder``.

    Args:
        width: Channels of the first layer; each further layer has twice as many, up to 8 times.
        depth: Number of times the size is halved. Default: as often as both sides allow, from 3 to 7: 5 at 96 px, 7 at
            128 px and 256 px (the paper has 8 at 256 px).
        norm: Normalisation after each inner convolution.
        dropout: Probability of dropping an activation in the first three decoder layers (the paper: 0.5).
        checkpoint_gradients: Recompute each layer in the backward pass instead of keeping its activations: less memory,
            more time, same results.

    Raises:
        RecipeError: when height or width is not a multiple of 2^depth.
    """

    aliases = ("unet_128", "unet_256", "pix2pix")

    def __init__(
        self,
        *,
        width: Annotated[int, Ge(1)] = 64,
        depth: Annotated[int, Ge(2), Le(8)] | None = None,
        norm: Norm = "instance",
        dropout: Annotated[float, Ge(0), Lt(1)] = 0.0,
        checkpoint_gradients: bool = False,
        data: DataInfo,
    ) -> None:
        super().__init__()
        depth = depth or _fitting_depth(data.size)
        self.multiple = 2**depth
        check_multiple(f"unet with depth: {depth}", data, self.multiple, remedy=", or a smaller depth")
        widths = [width * min(2**level, 8) for level in range(depth)]
        self.encoder = Encoder(data.channels["source"], widths, norm, checkpoint_gradients)
        self.decoder = Decoder(data.channels["target"], widths, norm, dropout, checkpoint_gradients)
        self.apply(initialize)

    @classmethod
    def example(cls, folder: Path) -> Mapping[str, Any]:
        return {"width": 4}

    @property
    def parts(self) -> Mapping[str, nn.Module]:
        return {"encoder": self.encoder, "decoder": self.decoder}

    def forward(self, wants: frozenset[str], source: Tensor | None = None) -> dict[str, Tensor]:
        if "output" not in wants:
            return {}
        assert source is not None, "the core passes the columns named in provides"
        return {"output": self.decoder(self.encoder(source))}


class Encoder(nn.Module):
    """Image (N, ``planes``, H, W) -> the activations of every level, largest first."""

    def __init__(self, planes: int, widths: list[int], norm: Norm, recompute: bool) -> None:
        super().__init__()
        self.levels = CheckpointedSequential(recompute=recompute)
        for level, (inputs, outputs) in enumerate(pairwise([planes, *widths])):
            # No norm on the innermost level, because at 1x1 it would erase the code.
            inner = 0 < level < len(widths) - 1
            conv = nn.Conv2d(inputs, outputs, 4, 2, padding=1, bias=not inner)
            norms = [_norm(outputs, norm)] if inner else []
            self.levels.append(nn.Sequential(conv, *norms, nn.LeakyReLU(0.2)))

    def forward(self, image: Tensor) -> list[Tensor]:
        activations = []
        for level in self.levels:
            image = self.levels.call(level, image)
            activations.append(image)
        return activations


class Decoder(nn.Module):
    """The encoder's activations -> image (N, ``planes``, H, W) in [-1, 1]."""

    def __init__(self, planes: int, widths: list[int], norm: Norm, dropout: float, recompute: bool) -> None:
        super().__init__()
        self.levels = CheckpointedSequential(recompute=recompute)
        inputs = widths[-1]
        for index, outputs in enumerate(reversed(widths[:-1])):
            conv = nn.ConvTranspose2d(inputs, outputs, 4, 2, padding=1, bias=False)
            drop = [nn.Dropout(dropout)] if index < 3 and dropout else []
            self.levels.append(nn.Sequential(conv, _norm(outputs, norm), *drop, nn.ReLU()))
            inputs = 2 * outputs
        self.last = nn.Sequential(nn.ConvTranspose2d(inputs, planes, 4, 2, padding=1), nn.Tanh())

    def forward(self, activations: list[Tensor]) -> Tensor:
        *skips, image = activations
        for level, skip in zip(self.levels, reversed(skips), strict=True):
            image = torch.cat([self.levels.call(level, image), skip], dim=1)
        return self.levels.call(self.last, image)


def _fitting_depth(size: tuple[int, int]) -> int:
    return max(depth for depth in range(3, 8) if depth == 3 or all(side % 2**depth == 0 for side in size))


def _norm(channels: int, kind: Norm) -> nn.Module:
    # Affine in both: the paper's instance norm is its batch norm at batch size 1.
    return nn.BatchNorm2d(channels) if kind == "batch" else nn.InstanceNorm2d(channels, affine=True)
