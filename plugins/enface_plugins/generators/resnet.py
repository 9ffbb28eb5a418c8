"""The residual generator of CycleGAN and pix2pix."""

from __future__ import annotations

from collections.abc import Mapping, Set
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from annotated_types import Ge
from torch import Tensor, nn

from enface import DataInfo, Generator
from enface_plugins.generators.blocks import at_least, check_side, crop_like, initialize
from enface_plugins.generators.gradient_checkpointing import CheckpointedSequential

Norm = Literal["batch", "instance"]
SMALLEST = 5
"""Side in pixels of the smallest images, of which a quarter is 2 px, as reflection by 1 px needs."""


class Resnet(Generator):
    """Residual blocks at a quarter of the size, without skips from source to output.

    A 7x7 convolution, two 3x3 ones of stride 2, the blocks, two transposed convolutions, a 7x7 convolution and tanh,
    with reflection padding. After Johnson, Alahi and Fei-Fei, "Perceptual losses for real-time style transfer and
    super-resolution", ECCV 2016, as in Zhu et al., "Unpaired image-to-image translation using cycle-consistent
    adversarial networks", ICCV 2017: 9 blocks from 256 px on, 6 below. Images of any size: each halving rounds odd
    sides up, and the output is cropped.

    The default has about as many operations as that of ``unet``, to compare both at equal cost; the papers'
    ``width: 64`` has seven times as many.

    By default: 1.11 M parameters, 0.652 GFLOP per image of 64 x 64 px; 1.11 M, 2.61 GFLOP of 128 x 128 px; 1.61 M,
    14.5 GFLOP of 256 x 256 px (a multiply-add counts as two).

    Provides: ``output`` (N, C, H, W) in [-1, 1] of ``source``; ``features``, the encoder's three layers, largest first
    (N, width, H, W), (N, 2 width, H/2, W/2), (N, 4 width, H/4, W/4), rounded up; and, if source and target have equally
    many planes, ``output_features``, the same of the output. Parts: ``encoder``, ``blocks``, ``decoder``.

    Args:
        width: Channels of the first layer; the blocks have four times as many.
        blocks: Number of residual blocks; default: 9 if the shorter side is 256 px or more, else 6.
        norm: Normalisation after each convolution but the last. ``instance`` has no learned scale, as in the papers.
        checkpoint_gradients: Recompute each layer in the backward pass instead of keeping its activations: less memory,
            more time, same results.

    Raises:
        RecipeError: when height or width is less than 5.
    """

    aliases = ("resnet_6blocks", "resnet_9blocks", "cyclegan", "pix2pixhd")
    multiple = 1

    def __init__(
        self,
        *,
        width: Annotated[int, Ge(1)] = 24,
        blocks: Annotated[int, Ge(1)] | None = None,
        norm: Norm = "instance",
        checkpoint_gradients: bool = False,
        data: DataInfo,
    ) -> None:
        super().__init__()
        check_side("resnet", data, SMALLEST)
        source_planes, target_planes = data.channels["source"], data.channels["target"]
        widths = (width, 2 * width, 4 * width)
        count = blocks or (9 if data.shorter_side >= 256 else 6)
        self.encoder = CheckpointedSequential(_conv(source_planes, width, norm, 7), recompute=checkpoint_gradients)
        for inputs, outputs in pairwise(widths):
            self.encoder.append(_halve(inputs, outputs, norm))
        residual_blocks = [Block(widths[-1], norm) for _ in range(count)]
        self.blocks = CheckpointedSequential(*residual_blocks, recompute=checkpoint_gradients)
        self.decoder = CheckpointedSequential(recompute=checkpoint_gradients)
        for inputs, outputs in pairwise(reversed(widths)):
            self.decoder.append(_double(inputs, outputs, norm))
        self.decoder.append(nn.Sequential(ReflectionPad(3), nn.Conv2d(width, target_planes, 7), nn.Tanh()))
        self.apply(initialize)
        # The encoder of sources can see outputs only if these have as many planes.
        names = ("output", "features", "output_features")[: 3 if source_planes == target_planes else 2]
        self.provides = dict.fromkeys(names, ("source",))

    @classmethod
    def example(cls, folder: Path) -> Mapping[str, Any]:
        return {"width": 4, "blocks": 1}

    @property
    def parts(self) -> Mapping[str, nn.Module]:
        return {"encoder": self.encoder, "blocks": self.blocks, "decoder": self.decoder}

    def forward(self, wants: Set[str], source: Tensor | None = None) -> dict[str, Any]:
        if not wants:
            return {}
        assert source is not None, "the core passes the columns named in provides"
        features = self._features(source)
        computed: dict[str, Any] = {"features": features}
        if {"output", "output_features"} & wants:
            computed["output"] = crop_like(self.decoder(self.blocks(features[-1])), source)
        if "output_features" in wants:
            computed["output_features"] = self._features(computed["output"])
        return {name: computed[name] for name in computed if name in wants}

    def _features(self, image: Tensor) -> tuple[Tensor, ...]:
        features, image = [], at_least(image, SMALLEST)
        for layer in self.encoder:
            image = self.encoder.call(layer, image)
            features.append(image)
        return tuple(features)


class Block(nn.Module):
    """x + body(x), with two 3x3 convolutions and reflection padding."""

    def __init__(self, channels: int, norm: Norm) -> None:
        super().__init__()
        second = _conv(channels, channels, norm)
        # Without the last ReLU, so that a block can subtract as well as add.
        self.body = nn.Sequential(*_conv(channels, channels, norm), *list(second)[:-1])

    def forward(self, features: Tensor) -> Tensor:
        return features + self.body(features)


class ReflectionPad(nn.Module):
    """Reflection padding by slicing, because the gradient of torch's own is not deterministic on CUDA."""

    def __init__(self, pixels: int) -> None:
        super().__init__()
        self.pixels = pixels

    def forward(self, features: Tensor) -> Tensor:
        for axis in (-2, -1):
            side, pixels = features.shape[axis], self.pixels
            before = features.narrow(axis, 1, pixels).flip(axis)
            after = features.narrow(axis, side - 1 - pixels, pixels).flip(axis)
            features = torch.cat([before, features, after], axis)
        return features


def _conv(inputs: int, outputs: int, norm: Norm, size: int = 3) -> nn.Sequential:
    conv = nn.Conv2d(inputs, outputs, size, bias=norm == "instance")
    return nn.Sequential(ReflectionPad(size // 2), conv, _norm(outputs, norm), nn.ReLU())


def _halve(inputs: int, outputs: int, norm: Norm) -> nn.Sequential:
    conv = nn.Conv2d(inputs, outputs, 3, 2, padding=1, bias=norm == "instance")
    return nn.Sequential(conv, _norm(outputs, norm), nn.ReLU())


def _double(inputs: int, outputs: int, norm: Norm) -> nn.Sequential:
    conv = nn.ConvTranspose2d(inputs, outputs, 3, 2, padding=1, output_padding=1, bias=norm == "instance")
    return nn.Sequential(conv, _norm(outputs, norm), nn.ReLU())


def _norm(channels: int, kind: Norm) -> nn.Module:
    return nn.BatchNorm2d(channels) if kind == "batch" else nn.InstanceNorm2d(channels)
