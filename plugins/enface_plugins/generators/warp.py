"""A generator that moves pixels of its images, and paints what they do not show."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import grid_sample

from enface import DataInfo, Generator, GeneratorBuilder, RecipeError

Image = Literal["source", "mirror"]
PROVIDED = ("output", "flow", "masks", "painted")
SHARPNESS = 8.0
"""Factor from the trunk's range [-1, 1] to the logits of the masks."""


class Warp(Generator):
    """Samples the source along a learned flow, and blends the result with a painted image.

    The trunk, any generator, computes a flow into each of ``images``, a painted image, and the weight of each at every
    pixel. A face is nearly symmetric, so the source's mirror image shows what its pose hides. Appearance flow: Zhou
    et al., "View synthesis by appearance flow", ECCV 2016; for frontal views: Wei et al., "Learning flow-based feature
    warping for face frontalization with illumination inconsistent supervision" (FFWM), ECCV 2020; masks that choose
    between moved and painted pixels: Siarohin et al., "First order motion model for image animation", NeurIPS 2019.

    Provides, for K images: ``output`` (N, C, H, W) in [-1, 1]; ``flow`` (N, K, 2, H, W), the way from each pixel to the
    place it is sampled at, right and down, in pixels; ``masks`` (N, K + 1, H, W), the weights of the images and, last,
    of ``painted``, with sum 1; ``painted`` (N, C, H, W) in [-1, 1]. Parts: those of the trunk.

    Args:
        trunk: The network that computes flows, masks and the painted image from its own columns.
        images: Images to sample: the ``source`` and its ``mirror`` image.

    Raises:
        RecipeError: when source and target have another number of planes, or ``images`` is empty or repeats one.
    """

    def __init__(
        self, *, trunk: GeneratorBuilder, images: tuple[Image, ...] = ("source", "mirror"), data: DataInfo
    ) -> None:
        super().__init__()
        planes = data.channels["target"]
        if data.channels["source"] != planes:
            raise RecipeError(
                f"warp moves pixels from source to target, so both need the same planes; source has "
                f"{data.channels['source']} and target {planes}"
            )
        if not images or len(set(images)) < len(images):
            raise RecipeError(f"warp: images must name different images, not {list(images)}")
        self.images = images
        # Per image 2 planes of flow and 1 of its mask; the painted image and its mask.
        self._split = (2 * len(images), planes, len(images) + 1)
        self.trunk = trunk(replace(data, channels={**data.channels, "target": sum(self._split)}))
        self.multiple = self.trunk.multiple
        columns = self.trunk.provides["output"]
        self.provides = dict.fromkeys(PROVIDED, columns) | {"output": tuple(dict.fromkeys([*columns, "source"]))}

    @classmethod
    def example(cls, folder: Path) -> Mapping[str, Any]:
        return {"trunk": {"use": "unet", "width": 4}}

    @property
    def parts(self) -> Mapping[str, nn.Module]:
        return self.trunk.parts

    def forward(self, wants: frozenset[str], **columns: Tensor) -> dict[str, Tensor]:
        if not wants:
            return {}
        own = {name: columns[name] for name in self.trunk.provides["output"]}
        # In float32, because bfloat16 places a pixel of a large image only to within several pixels.
        planes = self.trunk(frozenset({"output"}), **own)["output"].float()
        steps, painted, logits = torch.split(planes, self._split, dim=1)
        masks = (SHARPNESS * logits).softmax(1)
        flow = steps.unflatten(1, (len(self.images), 2))
        made = {"masks": masks, "painted": painted}
        if "flow" in wants:
            half = flow.new_tensor([flow.shape[-1] / 2, flow.shape[-2] / 2])
            made["flow"] = flow * half[:, None, None]
        if "output" in wants:
            source = columns["source"].float()
            sampled = [source.flip(-1) if name == "mirror" else source for name in self.images]
            moved = [_sample(image, flow[:, index]) for index, image in enumerate(sampled)]
            layers = zip(chain(moved, [painted]), masks.split(1, dim=1), strict=True)
            made["output"] = sum((mask * layer for layer, mask in layers), start=torch.zeros_like(painted))
        return {name: made[name] for name in wants}


def _sample(image: Tensor, flow: Tensor) -> Tensor:
    """Sample an image at every pixel plus its flow, bilinearly; beyond the edge, the edge is repeated.

    Args:
        image: (N, C, H, W).
        flow: (N, 2, H, W), right and down, in halves of width and height.
    """
    height, width = flow.shape[-2:]
    across, down = (
        (torch.arange(side, device=flow.device, dtype=flow.dtype) + 0.5) * (2 / side) - 1 for side in (width, height)
    )
    grid = torch.stack(torch.broadcast_tensors(across[None, :], down[:, None]), dim=-1)
    return grid_sample(image, grid + flow.permute(0, 2, 3, 1), padding_mode="border", align_corners=False)
