"""End-point error of a flow, whose true field the data knows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

import torch
from annotated_types import Gt
from torch import Tensor

from enface import Loss
from enface_plugins.flows import HINTS, fields_of, mirrored_field, over_visible, require_distinct

Image = Literal["source", "mirror", "partner"]
Truth = tuple[Tensor, Tensor]
"""A true field (N, 2, H, W) and its visibility (N, 1, H, W)."""


class FlowEpe(Loss):
    """End-point error of the generator's flow, sqrt(dx^2 + dy^2 + eps^2) pixels where the source shows the pixel.

    The distance between the place that a pixel is sampled at and the place of the same point of the object in the
    source, ``source_flow``, which a renderer knows (dataset ``synthetic_heads``). The end-point error is that of Baker
    et al., "A database and evaluation methodology for optical flow", IJCV 2011; as a training loss: Dosovitskiy et al.,
    "FlowNet: learning optical flow with convolutional networks", ICCV 2015; ``eps`` makes it Charbonnier's.

    Pixels of the background, and those that the source hides, have no error. The map's mean is the mean over an
    image's visible pixels, and 0 for an image without any, such as one whose partner is another person.

    The true flow into the ``mirror`` image is the field flipped left to right with its x negated, and so is the
    visibility. That is exact for a symmetric head seen from the front in the middle of the target. The people of
    ``synthetic_heads`` are nearly symmetric, apart from a parting of the hair; where the target is shifted or cropped
    by d pixels, the flow into the mirror image is off by up to 2 d.

    Shapes: flow (N, L, 2, H, W), source_flow and partner_flow (N, 2, H, W), right and down; source_visible and
    partner_visible (N, 1, H, W) -> (N, K, H, W) for K ``images``. Range: [0, inf). Unit: pixels.

    Args:
        images: Images that the flow samples, in the generator's order; flows into further images are ignored.
        eps: Error in pixels at which the curve turns from squared to absolute.

    Raises:
        RecipeError: if ``images`` is empty or repeats one, or the generator has fewer flows.
    """

    aliases = ("epe", "end_point_error", "flow_l1")
    unit = "per pixel"
    non_negative = True
    hints: ClassVar[Mapping[str, str]] = HINTS

    def __init__(
        self, *, images: tuple[Image, ...] = ("source", "mirror"), eps: Annotated[float, Gt(0)] = 0.01
    ) -> None:
        super().__init__()
        require_distinct(images, "flow_epe")
        self.images, self.eps = images, eps
        if "partner" in images:
            # An argument is a request, and only these images need the partner's columns.
            self.forward = self._with_partner  # type: ignore[method-assign, assignment]

    def forward(self, flow: Tensor, source_flow: Tensor, source_visible: Tensor) -> Tensor:
        return self._error(flow, _of_source(source_flow, source_visible))

    def _with_partner(
        self,
        flow: Tensor,
        source_flow: Tensor,
        source_visible: Tensor,
        partner_flow: Tensor,
        partner_visible: Tensor,
    ) -> Tensor:
        partner = {"partner": (partner_flow, partner_visible)}
        return self._error(flow, _of_source(source_flow, source_visible) | partner)

    def _error(self, flow: Tensor, known: Mapping[str, Truth]) -> Tensor:
        chosen = [known[name] for name in self.images]
        truth, visible = (torch.stack(items, dim=1) for items in zip(*chosen, strict=True))
        difference = fields_of(flow, self.images, "flow_epe") - truth
        return over_visible((difference.square().sum(2) + self.eps**2).sqrt(), visible[:, :, 0])


def _of_source(flow: Tensor, visible: Tensor) -> dict[str, Truth]:
    """Return the true fields into the source and its mirror image."""
    return {"source": (flow, visible), "mirror": (mirrored_field(flow), visible.flip(-1))}
