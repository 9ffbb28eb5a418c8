"""Absolute error between the source and the output that is moved back to it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import torch
from torch import Tensor

from enface import Loss
from enface_plugins.flows import HINTS, fields_of, over_visible, require_distinct, splat

LEAST = 1e-6
"""Least weight to divide by; a pixel with less counts for nothing."""

Image = Literal["source", "mirror"]


class Cycle(Loss):
    """Absolute error between the source and the output that is moved back along the flow.

    A flow says where each pixel p of the output is in the source, p + flow(p). The output is moved there by forward
    splatting: each pixel is spread bilinearly over the four pixels around its place, and pixels that meet are averaged
    (average splatting in Niklaus and Liu, "Softmax splatting for video frame interpolation", CVPR 2020). The result
    should be the source. Source pixels that no pixel of the output reaches have no error; those that are reached in
    part count as much. The map's mean is the mean over the reached pixels of an image.

    In the cycle loss of Zhu et al., "Unpaired image-to-image translation using cycle-consistent adversarial networks",
    ICCV 2017, a second generator leads back. A flow needs none, because its inverse is known.

    An output that is only moved has an error near 0, whatever the flow, so the loss does not train a flow alone: it
    keeps painted and blended pixels at what the source shows. Where source and target differ in light, it keeps the
    source's.

    Shapes: output and source (N, C, H, W), flow (N, L, 2, H, W) -> (N, K C, H, W) for K ``images``. Range: [0, inf);
    the error of a pixel is at most 2 for images in [-1, 1], times the inverse of the share of pixels that are reached.

    Args:
        images: Images that the flow samples, in the generator's order; flows into further images are ignored.

    Raises:
        RecipeError: if ``images`` is empty or repeats one, or the generator has fewer flows.
    """

    aliases = ("cycle_consistency",)
    unit = "per pixel"
    non_negative = True
    hints: ClassVar[Mapping[str, str]] = HINTS

    def __init__(self, *, images: tuple[Image, ...] = ("source",)) -> None:
        super().__init__()
        require_distinct(images, "cycle")
        self.images = images

    def forward(self, output: Tensor, source: Tensor, flow: Tensor) -> Tensor:
        fields = fields_of(flow, self.images, "cycle").unbind(1)
        images = [source.flip(-1) if name == "mirror" else source for name in self.images]
        return torch.cat([_error(output, image, field) for image, field in zip(images, fields, strict=True)], dim=1)


def _error(output: Tensor, image: Tensor, field: Tensor) -> Tensor:
    sums, weights = splat(output, field)
    moved = sums / weights.clamp_min(LEAST)
    # Constant, because the loss must not fall when pixels leave the image.
    return over_visible((moved - image).abs(), weights.detach().clamp_max(1))
