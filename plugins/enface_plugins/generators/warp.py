"""A generator that moves pixels of its images, and paints what they do not show."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from annotated_types import Ge, Le
from torch import Tensor, nn

from enface import DataInfo, Generator, GeneratorBuilder, RecipeError
from enface_plugins.generators.blocks import averaged, crop_like
from enface_plugins.generators.moved_features import MovedFeatures
from enface_plugins.generators.sampling import sample

Image = Literal["source", "mirror", "partner"]
PROVIDED = ("output", "flow", "masks", "painted")
SHARPNESS = 8.0
"""Factor from the trunk's range [-1, 1] to the logits of the masks."""
FEATURES = 16
"""Default width of the moved features, from 128 px on."""


class Warp(Generator):
    """Samples the source along a learned flow, and blends the result with a painted image.

    The trunk, any generator, computes a flow into each of ``images``, a painted image, and the weight of each at every
    pixel. A face is nearly symmetric, so the source's mirror image shows what its pose hides. Appearance flow: Zhou
    et al., "View synthesis by appearance flow", ECCV 2016; for frontal views: Wei et al., "Learning flow-based feature
    warping for face frontalization with illumination inconsistent supervision" (FFWM), ECCV 2020; masks that choose
    between moved and painted pixels: Siarohin et al., "First order motion model for image animation", NeurIPS 2019.

    The flow is a sum over ``levels``: each has half the resolution of the level before, so that large moves are smooth.
    With ``features``, features of the images are moved, too, as FFWM does: at the flow's end, and decoded, coarse to
    fine, into corrections of flow, masks and painted image. At 64 px they halve the speed of a small trunk.

    By default, with ``trunk: unet``: 29.3 M parameters, 0.803 GFLOP per image of 64 x 64 px; 42 M, 4.02 GFLOP of
    128 x 128 px; 42 M, 16.1 GFLOP of 256 x 256 px (a multiply-add counts as two; sampling is not counted).

    Provides, for K images: ``output`` (N, C, H, W) in [-1, 1]; ``flow`` (N, K, 2, H, W), the way from each pixel to the
    place it is sampled at, right and down, in pixels; ``moved_IMAGE`` (N, C, H, W), such as ``moved_mirror``, the image
    sampled along it; beyond its edge, the edge is repeated; ``masks`` (N, K + 1, H, W), the weights of the images and,
    last, of ``painted``, with sum 1; ``painted`` (N, C, H, W) in [-1, 1]. A term on one of them is, for example,
    ``painted: {use: l1, inputs: {output: painted}}``. Parts: those of the trunk, and ``features``.

    Args:
        trunk: The network that computes flows, masks and the painted image from its own columns; if ``images`` names
            the partner, from the planes of source and partner.
        images: Images to sample: the ``source``, its ``mirror`` image, and the ``partner`` of a pair. Let partners be
            of the same person (``pairs.partner.same: [identity]``), because another person's pixels mislead.
        levels: Number of resolutions of the flow.
        features: Channels of the moved features at full size; 0 for none. Default: 16 if the shorter side is 128 px or
            more, else 0.

    Raises:
        RecipeError: when source and target have another number of planes, ``images`` is empty or repeats one, the trunk
            does not give one value per pixel, or the images are too small for the levels.
    """

    aliases = ("appearance_flow", "ffwm", "first_order_motion", "fomm")

    def __init__(
        self,
        *,
        trunk: GeneratorBuilder,
        images: tuple[Image, ...] = ("source", "mirror"),
        levels: Annotated[int, Ge(1), Le(6)] = 3,
        features: Annotated[int, Ge(0)] | None = None,
        data: DataInfo,
    ) -> None:
        super().__init__()
        planes = data.channels["target"]
        _check(data, images, levels)
        self.images = images
        self._levels = levels
        # Per image 2 planes of flow at each level and 1 of its mask; the painted image and its mask.
        self._split = (2 * len(images) * levels, planes, len(images) + 1)
        self._partners = ("partner",) if "partner" in images else ()
        channels = {"source": planes * (1 + len(self._partners)), "target": sum(self._split)}
        self.trunk = _built(trunk, replace(data, channels=channels))
        width = features if features is not None else FEATURES if data.shorter_side >= 128 else 0
        self.features = MovedFeatures(planes, width, (2 * len(images), planes, len(images) + 1)) if width else None
        self.multiple = self.trunk.multiple
        columns = tuple(dict.fromkeys([*self.trunk.provides["output"], "source", *self._partners]))
        self._moved = tuple(f"moved_{name}" for name in images)
        self.provides = dict.fromkeys([*PROVIDED, *self._moved], columns)

    @classmethod
    def example(cls, folder: Path) -> Mapping[str, Any]:
        return {"trunk": {"use": "unet", "width": 4}}

    @property
    def parts(self) -> Mapping[str, nn.Module]:
        return {**self.trunk.parts, **({"features": self.features} if self.features is not None else {})}

    def forward(self, wants: frozenset[str], **columns: Tensor) -> dict[str, Tensor]:
        if not wants:
            return {}
        own = {name: columns[name] for name in self.trunk.provides["output"]}
        source, *partners = (columns[name] for name in ("source", *self._partners))
        if partners:
            own["source"] = torch.cat([source, *partners], dim=1)
        # In float32, because bfloat16 places a pixel of a large image only to within several pixels.
        planes = self.trunk(frozenset({"output"}), **own)["output"].float()
        if own.keys() > {"source"}:
            _require_per_pixel(planes, (len(source), sum(self._split), *source.shape[2:]))
        fields, painted, logits = torch.split(planes, [*self._split], dim=1)
        flow, logits = _coarse_to_fine(fields.chunk(self._levels, dim=1)), SHARPNESS * logits
        images = torch.stack([self._image(name, source, *partners) for name in self.images], dim=1).float()
        if self.features is not None:
            flow, painted, logits = self.features(images, flow, painted, logits)
        masks, flow = logits.softmax(1), flow.unflatten(1, (len(self.images), 2))
        made = {"masks": masks, "painted": painted}
        if "flow" in wants:
            half = flow.new_tensor([flow.shape[-1] / 2, flow.shape[-2] / 2])
            made["flow"] = flow * half[:, None, None]
        if {"output", *self._moved} & wants:
            moved = sample(images.flatten(0, 1), flow.flatten(0, 1)).unflatten(0, flow.shape[:2])
            made |= zip(self._moved, moved.unbind(1), strict=True)
            made["output"] = (masks[:, :, None] * torch.cat([moved, painted[:, None]], dim=1)).sum(1)
        return {name: made[name] for name in wants}

    def _image(self, name: Image, source: Tensor, partner: Tensor | None = None) -> Tensor:
        if name == "mirror":
            return source.flip(-1)
        return source if name == "source" or partner is None else partner


def _coarse_to_fine(fields: tuple[Tensor, ...]) -> Tensor:
    """Add fields (N, F, H, W), finest first, each averaged to half the resolution of the one before: (N, F, H, W)."""
    *finer, total = [averaged(field, level) for level, field in enumerate(fields)]
    for field in reversed(finer):
        total = field + crop_like(_doubled(_doubled(total).mT).mT, field)
    return total


def _doubled(field: Tensor) -> Tensor:
    """Interpolate a field linearly to twice its width; beyond the edge, the edge is repeated.

    By slices, because the gradient of torch's interpolation is not deterministic on CUDA.
    """
    before = torch.cat([field[..., :1], field[..., :-1]], dim=-1)
    after = torch.cat([field[..., 1:], field[..., -1:]], dim=-1)
    return torch.stack([field.lerp(before, 0.25), field.lerp(after, 0.25)], dim=-1).flatten(-2)


def _check(data: DataInfo, images: tuple[Image, ...], levels: int) -> None:
    planes = data.channels["target"]
    if data.channels["source"] != planes:
        raise RecipeError(
            f"warp moves pixels from source to target, so both need the same planes; source has "
            f"{data.channels['source']} and target {planes}"
        )
    if not images or len(set(images)) < len(images):
        raise RecipeError(f"warp: images must name at least one image, and each once, not {list(images)}")
    if data.shorter_side < 2 ** (levels - 1):
        raise RecipeError(
            f"warp: images of {data.shorter_side} px cannot be halved {levels - 1} times; use fewer levels"
        )


def _built(trunk: GeneratorBuilder, data: DataInfo) -> Generator:
    """Build the trunk, and refuse one whose output is not one value per pixel and plane."""
    planes, size = data.channels, data.size
    try:
        built = trunk(data)
    except RecipeError as error:
        raise RecipeError(f"trunk, from {planes['source']} to {planes['target']} planes: {error}") from error
    if "output" not in built.provides:
        raise RecipeError(f"trunk: provides no output, only {', '.join(built.provides)}; use another one")
    if built.provides["output"] != ("source",):
        # Its other columns are unknown here.
        return built
    try:
        with torch.no_grad():
            output = built.eval()(frozenset({"output"}), source=torch.zeros(1, planes["source"], *size))["output"]
    except RuntimeError as error:
        reason = str(error).partition("\n")[0]
        raise RecipeError(
            f"trunk: fails for images of {size[0]} x {size[1]} px ({reason}); use another size or another trunk"
        ) from error
    built.train()
    _require_per_pixel(output, (1, planes["target"], *size))
    return built


def _require_per_pixel(output: Tensor, wanted: tuple[int, ...]) -> None:
    if output.shape != wanted:
        raise RecipeError(
            f"trunk: must give a value for each pixel, (N, {', '.join(map(str, wanted[1:]))}) for N images, not "
            f"(N, {', '.join(map(str, output.shape[1:]))}); use another one"
        )
