"""The U-Net generator of pix2pix."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from annotated_types import Ge, Le, Lt
from torch import Tensor, nn

from enface import DataInfo, Generator, RecipeError
from enface_plugins.generators.attention import SelfAttention
from enface_plugins.generators.blocks import at_least, check_side, crop_like, halvable, initialize
from enface_plugins.generators.gradient_checkpointing import CheckpointedSequential

Norm = Literal["batch", "instance", "none"]
Sides = tuple[Annotated[int, Ge(1)], ...]


class Unet(Generator):
    """An encoder and a decoder with skips between layers of the same size.

    Down by 4x4 convolutions of stride 2 with LeakyReLU 0.2, up by 4x4 transposed ones with ReLU, tanh at the
    end. The skips carry the source's layout, which helps if output and source are aligned and may hinder if the
    face turns. After Isola et al., "Image-to-image translation with conditional adversarial
    networks", CVPR 2017; the paper's norm is ``batch``. Images of any size: each level rounds odd sides up, and the
    decoder crops.

    By default: 29.2 M parameters, 0.74 GFLOP per image of 64 x 64 px; 41.8 M, 3.01 GFLOP of 128 x 128 px; 41.8 M,
    12 GFLOP of 256 x 256 px (a multiply-add counts as two).

    Provides: ``output`` (N, C, H, W) in [-1, 1] of ``source``. Parts: ``encoder``, ``decoder``.

    Args:
        width: Channels of the first layer; each further layer has twice as many, up to 8 times.
        depth: Number of times the size is halved. Default: from 3 to 7, for sides that are multiples of 8 as often as
            both can be halved without a remainder (5 at 96 px, 6 at 64 px, 7 at 128 px and 256 px; the paper has 8 at
            256 px), for other sides until the shorter one would be less than 1 px (6 at 100 px).
        norm: Normalisation after each inner convolution.
        dropout: Probability of dropping an activation in the first three decoder layers (the paper: 0.5).
        attention: Self-attention after the layers of encoder and decoder whose activations have a shorter side of one
            of these lengths in pixels, such as [16, 8]. Its cost grows with the fourth power of the side.
        skips: Skips from encoder to decoder: all (true), none (false), or those of activations whose shorter side has
            one of these lengths in pixels.
        checkpoint_gradients: Recompute each layer in the backward pass instead of keeping its activations: less memory,
            more time, same results.

    Raises:
        RecipeError: when height or width is less than 2^depth, or no level has a side that ``attention`` or ``skips``
            names.
    """

    aliases = ("unet_128", "unet_256", "pix2pix")
    multiple = 1

    def __init__(
        self,
        *,
        width: Annotated[int, Ge(1)] = 64,
        depth: Annotated[int, Ge(2), Le(8)] | None = None,
        norm: Norm = "instance",
        dropout: Annotated[float, Ge(0), Lt(1)] = 0.0,
        attention: Sides = (),
        skips: bool | Sides = True,
        checkpoint_gradients: bool = False,
        data: DataInfo,
    ) -> None:
        super().__init__()
        depth = depth or _fitting_depth(data.size)
        self._smallest = 2**depth
        check_side(f"unet with depth: {depth}", data, self._smallest, ", or a smaller depth")
        widths = [width * min(2**level, 8) for level in range(depth)]
        sides = [-(-data.shorter_side // 2**level) for level in range(1, depth + 1)]
        *skippable, _ = sides
        attended = _named_levels("attention", attention, sides)
        skipped = _named_levels("skips", skippable if skips is True else skips or (), skippable)
        self.encoder = Encoder(data.channels["source"], widths, norm, attended, checkpoint_gradients)
        self.decoder = Decoder(data.channels["target"], widths, norm, dropout, attended, skipped, checkpoint_gradients)
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
        activations = self.encoder(at_least(source, self._smallest))
        return {"output": crop_like(self.decoder(activations), source)}


class Encoder(nn.Module):
    """Image (N, ``planes``, H, W) -> the activations of every level, largest first, each of half the size, rounded up.

    Args:
        attended: Levels with attention.
    """

    def __init__(
        self, planes: int, widths: Sequence[int], norm: Norm, attended: Collection[int], recompute: bool
    ) -> None:
        super().__init__()
        self.levels = CheckpointedSequential(recompute=recompute)
        for level, (inputs, outputs) in enumerate(pairwise([planes, *widths])):
            # No norm on the innermost level, because at 1x1 it would erase the code.
            kind = norm if 0 < level < len(widths) - 1 else "none"
            conv = nn.Conv2d(inputs, outputs, 4, 2, padding=1, bias=kind == "none")
            attention = [SelfAttention(outputs)] if level in attended else []
            self.levels.append(nn.Sequential(conv, *_norm(outputs, kind), nn.LeakyReLU(0.2), *attention))

    def forward(self, image: Tensor) -> list[Tensor]:
        activations = []
        for level in self.levels:
            image = self.levels.call(level, halvable(image))
            activations.append(image)
        return activations


class Decoder(nn.Module):
    """The encoder's activations -> image (N, ``planes``, H, W) in [-1, 1]; H and W are even.

    Args:
        attended: Levels with attention, counted as in the encoder.
        skipped: Levels whose activations it sees, beside those of the last.
    """

    def __init__(
        self,
        planes: int,
        widths: Sequence[int],
        norm: Norm,
        dropout: float,
        attended: Collection[int],
        skipped: Collection[int],
        recompute: bool,
    ) -> None:
        super().__init__()
        self.levels = CheckpointedSequential(recompute=recompute)
        self._skips = [level in skipped for level in reversed(range(len(widths) - 1))]
        inputs = widths[-1]
        for level, outputs in reversed(list(enumerate(widths[:-1]))):
            conv = nn.ConvTranspose2d(inputs, outputs, 4, 2, padding=1, bias=norm == "none")
            drop = [nn.Dropout(dropout)] if level > len(widths) - 5 and dropout else []
            attention = [SelfAttention(outputs)] if level in attended else []
            self.levels.append(nn.Sequential(conv, *_norm(outputs, norm), *drop, nn.ReLU(), *attention))
            inputs = 2 * outputs if level in skipped else outputs
        self.last = nn.Sequential(nn.ConvTranspose2d(inputs, planes, 4, 2, padding=1), nn.Tanh())

    def forward(self, activations: Sequence[Tensor]) -> Tensor:
        *larger, image = activations
        for level, activation, skip in zip(self.levels, reversed(larger), self._skips, strict=True):
            image = crop_like(self.levels.call(level, image), activation)
            if skip:
                image = torch.cat([image, activation], dim=1)
        return self.levels.call(self.last, image)


def _fitting_depth(size: tuple[int, int]) -> int:
    fitting = [depth for depth in range(3, 8) if all(side % 2**depth == 0 for side in size)]
    return fitting[-1] if fitting else min(max(min(size).bit_length() - 1, 3), 7)


def _named_levels(key: str, named: Collection[int], sides: Sequence[int]) -> list[int]:
    """Return the levels, counted from 0, of the named sides."""
    for side in named:
        if side not in sides:
            raise RecipeError(
                f"unet with {key}: {list(named)}: no level has a shorter side of {side} px; "
                f"those that can be named have {', '.join(map(str, sides))}"
            )
    return [level for level, side in enumerate(sides) if side in named]


def _norm(channels: int, kind: Norm) -> list[nn.Module]:
    if kind == "none":
        return []
    # Affine in both: the paper's instance norm is its batch norm at batch size 1.
    return [nn.BatchNorm2d(channels) if kind == "batch" else nn.InstanceNorm2d(channels, affine=True)]
