"""Mean absolute error."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from enface import DataInfo, Metric
from enface_plugins.metrics.cards import pixel_card


class MAE(Metric):
    """Mean absolute error, mean |output - target|.

    Shapes: output, target (N, C, H, W) in [0, 1] -> (N,). Range: [0, 1], 0 for equal images. Half the
    value of the loss ``l1``, which takes images in [-1, 1].
    """

    aliases: ClassVar[tuple[str, ...]] = ("l1", "mean_absolute_error")
    higher_is_better: ClassVar[bool] = False
    default: ClassVar[bool] = True
    bounds: ClassVar[tuple[float, float]] = (0.0, 1.0)
    unit: ClassVar[str] = "range from black to white"

    def __init__(self, *, data: DataInfo) -> None:
        super().__init__()
        self.data = data

    @property
    def card(self) -> dict[str, str]:
        return pixel_card(self.data)

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        return self.map(output, target).flatten(1).mean(1)

    def map(self, output: Tensor, target: Tensor) -> Tensor:
        return (output - target).abs()
