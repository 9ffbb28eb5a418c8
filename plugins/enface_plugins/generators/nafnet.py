"""NAFNet: a restoration network without nonlinear activations, used for translation here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import torch
from annotated_types import Ge, MinLen
from torch import Tensor, nn
from torch.nn import functional

from enface import DataInfo, Generator, RecipeError
from enface_plugins.generators.blocks import check_side, crop_like, halvable
from enface_plugins.generators.gradient_checkpointing import CheckpointedSequential

Counts = Annotated[tuple[Annotated[int, Ge(0)], ...], MinLen(1)]


class Nafnet(Generator):
    """A U-shaped network of blocks that multiply two halves of their channels instead of using an activation.

    Each block normalises over channels, convolves depthwise, weights its channels by their means over the image, and
    adds the result to its input with a factor that starts at 0, so a new network consists of the convolutions between
    sizes. Skips are sums. After Chen, Chu, Zhang and Sun, "Simple baselines for image restoration", ECCV 2022, who use
    ``encoder_blocks: [1, 1, 1, 28]``, ``middle_blocks: 1``, ``decoder_blocks: [1, 1, 1, 1]`` for deblurring. Images of
    any size: each halving rounds odd sides up, and the decoder crops.

    The default has about as many operations as that of ``unet``, to compare both at equal cost; the paper's networks
    of this width have three times as many.

    By default: 6.82 M parameters, 0.722 GFLOP per image of 64 x 64 px; 6.82 M, 2.89 GFLOP of 128 x 128 px; 6.82 M,
    11.5 GFLOP of 256 x 256 px (a multiply-add counts as two).

    Provides: ``output`` (N, C, H, W) of ``source``. Parts: ``encoder``, ``middle``, ``decoder``.

    Args:
        width: Channels at full size; each halving of the size doubles them.
        encoder_blocks: Blocks at each size, largest first; each size ends with a halving.
        middle_blocks: Blocks at the smallest size.
        decoder_blocks: Blocks at each size of the decoder, smallest first; as many sizes as the encoder has.
        residual: Add the source to the output, as the paper does for restoration; the output is then unbounded.
            Otherwise tanh keeps it in [-1, 1]. Useful if output and source are aligned, unlike a turned face. A grey
            source is added to every plane of the output; other sources need as many planes as the output.
        checkpoint_gradients: Recompute each block in the backward pass instead of keeping its activations: less memory,
            more time, same results.

    Raises:
        RecipeError: when encoder and decoder have different numbers of sizes, height or width is less than 2^sizes, or
            ``residual`` cannot add the source's planes to the output's.
    """

    multiple = 1

    def __init__(
        self,
        *,
        width: Annotated[int, Ge(1)] = 32,
        encoder_blocks: Counts = (1, 1, 1, 2),
        middle_blocks: Annotated[int, Ge(0)] = 2,
        decoder_blocks: Counts = (1, 1, 1, 1),
        residual: bool = False,
        checkpoint_gradients: bool = False,
        data: DataInfo,
    ) -> None:
        super().__init__()
        _check_sizes(data, len(encoder_blocks), len(decoder_blocks))
        source_planes, target_planes = data.channels["source"], data.channels["target"]
        if residual and source_planes not in (1, target_planes):
            raise RecipeError(
                f"nafnet with residual: true adds the source to the output, but source images have {source_planes} "
                f"planes and target images {target_planes}; use residual: false"
            )
        deepest = width * 2 ** len(encoder_blocks)
        self.residual = residual
        self.encoder = Encoder(source_planes, width, encoder_blocks, checkpoint_gradients)
        middle = [Block(deepest) for _ in range(middle_blocks)]
        self.middle = CheckpointedSequential(*middle, recompute=checkpoint_gradients)
        self.decoder = Decoder(deepest, target_planes, decoder_blocks, checkpoint_gradients)

    @classmethod
    def example(cls, folder: Path) -> Mapping[str, Any]:
        return {"width": 4, "encoder_blocks": [1, 1], "middle_blocks": 1, "decoder_blocks": [1, 1]}

    @property
    def parts(self) -> Mapping[str, nn.Module]:
        return {"encoder": self.encoder, "middle": self.middle, "decoder": self.decoder}

    def forward(self, wants: frozenset[str], source: Tensor | None = None) -> dict[str, Tensor]:
        if "output" not in wants:
            return {}
        assert source is not None, "the core passes the columns named in provides"
        *skips, smallest = self.encoder(source)
        decoded = self.decoder(self.middle(smallest), skips)
        return {"output": source + decoded if self.residual else decoded.tanh()}


class Encoder(nn.Module):
    """Image (N, ``planes``, H, W) -> features before each halving, largest first, and after the last."""

    def __init__(self, planes: int, width: int, blocks: Sequence[int], recompute: bool) -> None:
        super().__init__()
        self.first = nn.Conv2d(planes, width, 3, padding=1)
        self.levels, self.downs = nn.ModuleList(), nn.ModuleList()
        for level, count in enumerate(blocks):
            channels = width * 2**level
            self.levels.append(CheckpointedSequential(*(Block(channels) for _ in range(count)), recompute=recompute))
            self.downs.append(nn.Conv2d(channels, 2 * channels, 2, 2))

    def forward(self, image: Tensor) -> list[Tensor]:
        features, skips = self.first(image), []
        for level, down in zip(self.levels, self.downs, strict=True):
            skips.append(level(features))
            features = down(halvable(skips[-1]))
        return [*skips, features]


class Decoder(nn.Module):
    """Features of the smallest size and the encoder's skips -> (N, ``planes``, H, W)."""

    def __init__(self, channels: int, planes: int, blocks: Sequence[int], recompute: bool) -> None:
        super().__init__()
        self.levels, self.ups = nn.ModuleList(), nn.ModuleList()
        for count in blocks:
            wider = nn.Conv2d(channels, 2 * channels, 1, bias=False)
            self.ups.append(nn.Sequential(wider, nn.PixelShuffle(2)))
            channels //= 2
            self.levels.append(CheckpointedSequential(*(Block(channels) for _ in range(count)), recompute=recompute))
        self.last = nn.Conv2d(channels, planes, 3, padding=1)

    def forward(self, features: Tensor, skips: Sequence[Tensor]) -> Tensor:
        for level, up, skip in zip(self.levels, self.ups, reversed(skips), strict=True):
            features = level(crop_like(up(features), skip) + skip)
        return self.last(features)


class Block(nn.Module):
    """x + beta mix(x), then y + gamma feed(y): depthwise mixing over space, then over channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.mix = nn.Sequential(
            ChannelNorm(channels),
            nn.Conv2d(channels, 2 * channels, 1),
            nn.Conv2d(2 * channels, 2 * channels, 3, padding=1, groups=2 * channels),
            Gate(),
            ChannelAttention(channels),
            nn.Conv2d(channels, channels, 1),
        )
        self.feed = nn.Sequential(
            ChannelNorm(channels),
            nn.Conv2d(channels, 2 * channels, 1),
            Gate(),
            nn.Conv2d(channels, channels, 1),
        )
        self.beta = nn.Parameter(torch.zeros(1, channels, 1, 1))
        self.gamma = nn.Parameter(torch.zeros(1, channels, 1, 1))

    def forward(self, features: Tensor) -> Tensor:
        features = features + self.beta * self.mix(features)
        return features + self.gamma * self.feed(features)


class ChannelNorm(nn.Module):
    """Layer norm over the channels of each pixel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, features: Tensor) -> Tensor:
        last = features.permute(0, 2, 3, 1)
        return functional.layer_norm(last, self.weight.shape, self.weight, self.bias, 1e-6).permute(0, 3, 1, 2)


class Gate(nn.Module):
    """The product of the two halves of the channels."""

    def forward(self, features: Tensor) -> Tensor:
        first, second = features.chunk(2, dim=1)
        return first * second


class ChannelAttention(nn.Module):
    """Each channel times a linear function of all channels' means."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weigh = nn.Conv2d(channels, channels, 1)

    def forward(self, features: Tensor) -> Tensor:
        return features * self.weigh(features.mean((2, 3), keepdim=True))


def _check_sizes(data: DataInfo, down: int, up: int) -> None:
    if down != up:
        raise RecipeError(f"nafnet: encoder_blocks has {down} sizes and decoder_blocks {up}; both need the same number")
    check_side(f"nafnet with {down} sizes", data, 2**down, ", or shorter lists of blocks")
