"""End-point error of the flow into the source."""

from __future__ import annotations

from typing import Annotated, ClassVar

from annotated_types import Ge
from torch import Tensor

from enface import Metric, RecipeError


class FlowError(Metric):
    """Mean end-point error of the flow into the source, mean sqrt(dx^2 + dy^2), over the pixels that the source shows.

    The distance between the place in the source that a pixel is sampled at and the true place of the same point of the
    object, which a renderer knows (dataset ``synthetic_heads``). It does not depend on the output's colours: it tells
    whether a generator that moves pixels takes them from the right place. After Baker et al., "A database and
    evaluation methodology for optical flow", IJCV 2011. Baselines, which have no flow, have no such number.

    Shapes: flow (N, K, 2, H, W) and source_flow (N, 2, H, W), right and down in pixels; source_visible (N, 1, H, W)
    -> (N,). Range: [0, inf), 0 for the true flow; NaN for an image without visible pixels. Unit: pixels of the output,
    so numbers of different image sizes are not comparable.

    Args:
        index: Place of the source among the images that the generator moves, counted from 0.
    """

    aliases: ClassVar[tuple[str, ...]] = ("epe", "aepe", "end_point_error", "flow_epe")
    higher_is_better: ClassVar[bool] = False
    bounds: ClassVar[tuple[float, float]] = (0.0, float("inf"))
    unit: ClassVar[str] = "px"

    def __init__(self, *, index: Annotated[int, Ge(0)] = 0) -> None:
        super().__init__()
        self.index = index

    @property
    def card(self) -> dict[str, str]:
        return {
            "implementation": "enface",
            "data_range": "pixels",
            "crop": "none",
            "pixels": "of the object that the source shows",
            "field": str(self.index),
        }

    def forward(
        self, output: Tensor, target: Tensor, flow: Tensor, source_flow: Tensor, source_visible: Tensor
    ) -> Tensor:
        if self.index >= flow.shape[1]:
            raise RecipeError(
                f"flow_error: index {self.index}, but the generator moves {flow.shape[1]} images, numbered from 0"
            )
        error = (flow[:, self.index] - source_flow).square().sum(1).sqrt()
        visible = source_visible[:, 0]
        return (error * visible).flatten(1).sum(1) / visible.flatten(1).sum(1)
