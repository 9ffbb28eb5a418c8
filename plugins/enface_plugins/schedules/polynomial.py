"""Polynomial decay."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from annotated_types import Gt

from enface import Schedule


class Polynomial(Schedule):
    """Polynomial decay: end + (start - end) * (1 - step / over)^power.

    The value stays ``end`` after step ``over``. The "poly" policy of Chen et al., "DeepLab: semantic image
    segmentation with deep convolutional nets, atrous convolution, and fully connected CRFs", IEEE TPAMI 2018
    (power 0.9).

    Args:
        start: Value at step 0.
        end: Value at and after step ``over``.
        over: Length of the change, in steps.
        power: 1 is a straight line; above 1 the value changes fast at first, below 1 fast at the end.
    """

    def __init__(
        self,
        *,
        start: float,
        end: float = 0.0,
        over: Annotated[int, Gt(0)],
        power: Annotated[float, Gt(0)] = 0.9,
    ) -> None:
        self.start, self.end, self.over, self.power = start, end, over, power

    @classmethod
    def example(cls, folder: Path) -> Mapping[str, Any]:
        return {"start": 1.0, "over": 100}

    def __call__(self, step: int) -> float:
        height = float((1 - min(step / self.over, 1.0)) ** self.power)
        return self.start * height + self.end * (1 - height)
