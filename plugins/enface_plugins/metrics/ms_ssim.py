"""Structural similarity at several scales."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar

import torch
from annotated_types import Ge, Le
from torch import Tensor

from enface import DataInfo, Metric, RecipeError
from enface_plugins.metrics.windows import SIGMA, WINDOW, halved, planes, similarity

FIVE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""The paper's exponents, from the finest scale to the coarsest."""


class MsSsim(Metric):
    """Structural similarity at several scales, each half the size of the one before.

    Wang, Simoncelli and Bovik, "Multi-scale structural similarity for image quality assessment", Asilomar
    2003: the product over scales of contrast and structure, and of luminance at the last one, each to its
    exponent. Each colour channel by itself, then their mean; negative terms count as 0.

    Five scales need images larger than 160 px. With fewer, the first exponents are used, rescaled to the same
    sum, and the card says how many: numbers with different scales are not comparable.

    It has no number for a part of the image: the coarsest scale's window covers 11 * 2^(scales - 1) px, most of the
    image, and where it fits at all leaves only places near the middle. Take ``ssim`` for that.

    Shapes: output, target (N, 3, H, W) in [0, 1] -> (N,). Range: [0, 1], 1 for equal images.

    Args:
        scales: How many; as many as fit the images unless given.

    Raises:
        RecipeError: when so many scales do not fit the images.
    """

    higher_is_better: ClassVar[bool] = True
    default: ClassVar[bool] = True
    bounds: ClassVar[tuple[float, float]] = (0.0, 1.0)

    def __init__(self, *, data: DataInfo, scales: Annotated[int, Ge(1), Le(5)] | None = None) -> None:
        super().__init__()
        self.exponents = exponents_for(data.size, scales)

    @property
    def card(self) -> dict[str, str]:
        return {
            "implementation": "enface",
            "scales": str(len(self.exponents)),
            "exponents": " ".join(f"{exponent:.4f}" for exponent in self.exponents),
            "window": f"Gaussian, {WINDOW} px, sigma {SIGMA}, inside the image",
            "data_range": "1",
            "colour": "RGB, mean of channels",
            "crop": "none",
            "resize": "none",
        }

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        return multi_scale_ssim(output, target, self.exponents)


def exponents_for(size: int, scales: int | None = None) -> list[float]:
    """The exponent of each scale, from the finest: for ``scales`` of them, else as many as fit ``size`` px.

    Raises:
        RecipeError: when so many do not fit, naming the size they need.
    """
    fitting = sum(size > too_small(number) for number in range(1, 6))
    wanted = scales or fitting
    if not 0 < wanted <= fitting:
        needed = max(wanted, 1)
        advice = f"; {fitting} fit (scales: {fitting})" if fitting else ""
        raise RecipeError(
            f"ms_ssim at {needed} scales needs images larger than {too_small(needed)} px; these have {size}{advice}"
        )
    first = FIVE_WEIGHTS[:wanted]
    return [weight / sum(first) * sum(FIVE_WEIGHTS) for weight in first]


def too_small(scales: int) -> int:
    """The largest size in pixels at which the coarsest scale is still smaller than the window."""
    return (WINDOW - 1) << (scales - 1)


def multi_scale_ssim(output: Tensor, target: Tensor, exponents: Sequence[float], *, floor: float = 0.0) -> Tensor:
    """The similarity of images in [0, 1], (N, C, H, W) -> (N,), at as many scales as there are exponents.

    Args:
        floor: A scale's similarity below it counts as it, without gradient. Above 0 it bounds the gradient.
    """
    first, second = planes(output), planes(target)
    factors = []
    for scale, exponent in enumerate(exponents, start=1):
        last = scale == len(exponents)
        whole, contrast = similarity(first, second)
        factors.append((whole if last else contrast).mean((0, 2, 3)).clamp(min=floor) ** exponent)
        if not last:
            first, second = halved(first), halved(second)
    return torch.stack(factors).prod(0).unflatten(0, output.shape[:2]).mean(1)
