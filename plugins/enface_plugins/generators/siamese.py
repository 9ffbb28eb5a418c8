"""The Siamese network that separates identity from pose and light."""

from __future__ import annotations

from collections.abc import Mapping, Set
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from annotated_types import Ge, Gt
from torch import Tensor, nn
from torch.nn import functional

from enface import DataInfo, Generator, RecipeError
from enface_plugins.generators.blocks import check_multiple, initialize
from enface_plugins.generators.elu import ELU
from enface_plugins.generators.gradient_checkpointing import CheckpointedSequential

HEADS = ("pose", "light")
MULTIPLE = 16
"""Factor by which the encoder shrinks height and width."""


class Siamese(Generator):
    """Frontal face synthesis by a Siamese encoder whose code is split by channel.

    Three quarters of the code (240 channels) are the identity, from which the decoder synthesises the frontal face.
    From the last quarter (80) one convolution each over the whole code predicts pose and light. The encoder's
    second branch, on ``partner``, shares its weights and runs only if a ``partner_*`` name is requested. It is a
    separate call, so each branch is normalised by its own batch statistics. The network of a 2018 system for
    Multi-PIE: 6.3 M parameters for 96 px, 9 poses and 20 lights.

    Provides: ``output`` (N, C, H, W) in [-1, 1], ``identity_code`` (N, 240 H/16 W/16), and, if the data has the columns
    ``pose`` and ``light``, ``pose_logits`` (N, poses) and ``light_logits`` (N, lights); all but the output also as
    ``partner_*``. Parts: ``encoder``, ``decoder``, ``heads``. The heads see the whole code, so they need images of the
    size in training; the output of a trained network can be computed at any multiple of 16.

    With ``codes`` and ``noise`` the decoder also receives, at every position of the code, classes of the target and
    random numbers, as in Tran, Yin and Liu, "Disentangled representation learning GAN for pose-invariant face
    recognition" (DR-GAN), CVPR 2017. The numbers are standard normal in training and 0 in eval mode.

    By default: 6.25 M parameters, 2.07 GFLOP per image of 64 x 64 px; 6.25 M, 8.27 GFLOP of 128 x 128 px; 6.25 M,
    33.1 GFLOP of 256 x 256 px (a multiply-add counts as two).

    Args:
        width: Factor on all channel counts, which are then rounded to a multiple of 8.
        decoder: Upsampling in the decoder: transposed convolutions (the published results), or bilinear interpolation
            and a convolution (the first model; no checkerboard patterns).
        codes: Columns whose target class the decoder receives, such as ``{pose: 2}``; the number is the class (as
            counted by ``pose_class``) to use if no target is known, as for a photograph.
        noise: Number of random numbers that the decoder receives.
        checkpoint_gradients: Recompute each layer in the backward pass instead of keeping its activations: less memory,
            more time, same results.

    Raises:
        RecipeError: when height or width is not a multiple of 16, or the data lacks a column or class of ``codes``.
    """

    encoder_part = "encoder"

    def __init__(
        self,
        *,
        width: Annotated[float, Gt(0)] = 1.0,
        decoder: Literal["transposed", "bilinear"] = "transposed",
        codes: dict[str, Annotated[int, Ge(0)]] | None = None,
        noise: Annotated[int, Ge(0)] = 0,
        checkpoint_gradients: bool = False,
        data: DataInfo,
    ) -> None:
        super().__init__()
        check_multiple("siamese", data, MULTIPLE)
        self.multiple = MULTIPLE
        code = _scaled(320, width)
        self.split = [code - code // 4, code // 4]
        self.encoder = Encoder(data.channels["source"], width, checkpoint_gradients)
        self.noise, self.codes = noise, codes or {}
        self.classes = _classes(self.codes, data)
        inputs = self.split[0] + sum(self.classes.values()) + noise
        planes = data.channels["target"]
        self.decoder = _decoder(inputs, planes, width, decoder == "transposed", checkpoint_gradients)
        whole_code = (data.size[0] // MULTIPLE, data.size[1] // MULTIPLE)
        self.heads = nn.ModuleDict(
            {name: nn.Conv2d(self.split[1], data.classes[name], whole_code) for name in HEADS if name in data.classes}
        )
        self.apply(initialize)
        encoded = ["identity_code", *(f"{name}_logits" for name in self.heads)]
        self.provides = (
            {"output": ("source", *(f"target_{name}_class" for name in self.codes))}
            | dict.fromkeys(encoded, ("source",))
            | dict.fromkeys((f"partner_{name}" for name in encoded), ("partner",))
        )

    @classmethod
    def example(cls, folder: Path) -> Mapping[str, Any]:
        return {"width": 0.125}

    @property
    def parts(self) -> Mapping[str, nn.Module]:
        return {"encoder": self.encoder, "decoder": self.decoder, "heads": self.heads}

    def forward(
        self,
        wants: frozenset[str],
        source: Tensor | None = None,
        partner: Tensor | None = None,
        *,
        encoded_source: Tensor | None = None,
        encoded_partner: Tensor | None = None,
        **target: Tensor,
    ) -> dict[str, Tensor]:
        unknown = wants.difference(self.provides)
        if unknown:
            raise RecipeError(
                f"siamese does not provide {', '.join(sorted(unknown))} for this data; "
                f"it provides {', '.join(self.provides)}"
            )
        of_partner = {name for name in wants if name.startswith("partner_")}
        first = self._branch(wants - of_partner, source, encoded_source, target)
        unprefixed = {name.removeprefix("partner_") for name in of_partner}
        second = self._branch(unprefixed, partner, encoded_partner, {})
        return first | {f"partner_{name}": value for name, value in second.items()}

    def _branch(
        self, wants: Set[str], image: Tensor | None, code: Tensor | None, target: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        if not wants:
            return {}
        if code is None:
            assert image is not None, "the core passes the columns named in provides, or their codes"
            code = self.encoder(image)
        identity, rest = code.split(self.split, dim=1)
        computed = {}
        if "output" in wants:
            computed["output"] = self.decoder(self._conditioned(identity, target))
        if "identity_code" in wants:
            computed["identity_code"] = identity.flatten(1)
        for name, head in self.heads.items():
            if f"{name}_logits" in wants:
                computed[f"{name}_logits"] = head(rest).flatten(1)
        return computed

    def _conditioned(self, identity: Tensor, target: Mapping[str, Tensor]) -> Tensor:
        """Return the identity code with the target's classes and noise, repeated at each position, as channels."""
        if not self.codes and not self.noise:
            return identity
        count, conditions = identity.shape[0], []
        for name, default in self.codes.items():
            labels = target.get(f"target_{name}_class")
            if labels is None:
                labels = torch.full((count,), default, device=identity.device)
            conditions.append(functional.one_hot(labels, self.classes[name]).to(identity.dtype))
        if self.noise:
            noise = identity.new_zeros(count, self.noise)
            conditions.append(noise.normal_() if self.training else noise)
        channels = [item[:, :, None, None].expand(-1, -1, *identity.shape[2:]) for item in conditions]
        return torch.cat([identity, *channels], dim=1)


class Encoder(nn.Module):
    """Image (N, planes, H, W) -> code (N, 320, H/16, W/16): a stem and four residual stages of stride 2.

    Args:
        planes: Planes of the image.
        width: Factor on all channel counts.
        recompute: Recompute the stages in the backward pass.
    """

    def __init__(self, planes: int, width: float, recompute: bool = False) -> None:
        super().__init__()
        inputs = _scaled(64, width)
        self.stem = Residual(
            shortcut=nn.Conv2d(planes, inputs, 1, bias=False),
            body=nn.Sequential(_conv(planes, inputs), ELU(), _conv(inputs, inputs)),
        )
        self.stages = CheckpointedSequential(recompute=recompute)
        for channels in (128, 192, 256, 320):
            narrow, wide = _scaled(channels / 2, width), _scaled(channels, width)
            self.stages.append(_stage(inputs, narrow, wide))
            inputs = wide

    def forward(self, image: Tensor) -> Tensor:
        return self.stages(self.stages.call(self.stem, image))


class Residual(nn.Module):
    """ELU(shortcut(x) + body(x))."""

    def __init__(self, shortcut: nn.Module, body: nn.Module) -> None:
        super().__init__()
        self.shortcut, self.body, self.activation = shortcut, body, ELU()

    def forward(self, features: Tensor) -> Tensor:
        return self.activation(self.shortcut(features) + self.body(features))


def _stage(inputs: int, narrow: int, wide: int) -> nn.Sequential:
    body = nn.Sequential(_conv(wide, narrow), ELU(), _conv(narrow, wide))
    return nn.Sequential(_conv(inputs, wide, stride=2), ELU(), Residual(nn.Identity(), body))


def _decoder(inputs: int, planes: int, width: float, transposed: bool, recompute: bool) -> nn.Sequential:
    # In each line but the first, the first layer doubles the size.
    layout = ((160, 256), (256, 128, 192), (192, 96, 128), (128, 64, 64), (64, 32))
    layers = CheckpointedSequential(recompute=recompute)
    for number, stage in enumerate(layout):
        for index, channels in enumerate(stage):
            outputs = _scaled(channels, width)
            layers.append(_up(inputs, outputs, double=number > 0 and index == 0, transposed=transposed))
            inputs = outputs
    last = nn.ConvTranspose2d if transposed else nn.Conv2d
    return layers.append(nn.Sequential(last(inputs, planes, 3, padding=1), nn.Tanh()))


def _up(inputs: int, outputs: int, double: bool, transposed: bool) -> nn.Sequential:
    if not transposed:
        enlarge = [nn.Upsample(scale_factor=2, mode="bilinear")] if double else []
        return nn.Sequential(*enlarge, _conv(inputs, outputs), ELU())
    stride, extra = (2, 1) if double else (1, 0)
    conv = nn.ConvTranspose2d(inputs, outputs, 3, stride, padding=1, output_padding=extra, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), ELU())


def _conv(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    # No bias: the batch norm has one.
    conv = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs))


def _scaled(channels: float, width: float) -> int:
    return max(8, 8 * round(channels * width / 8))


def _classes(codes: Mapping[str, int], data: DataInfo) -> dict[str, int]:
    for name, default in codes.items():
        if name not in data.classes:
            raise RecipeError(f"siamese: codes: the data has no column {name!r}; it has {', '.join(data.classes)}")
        count = data.classes[name]
        if default >= count:
            raise RecipeError(f"siamese: codes: {name} has the classes 0 to {count - 1}, not {default}")
    return {name: data.classes[name] for name in codes}
