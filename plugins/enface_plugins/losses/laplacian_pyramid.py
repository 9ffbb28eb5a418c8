"""Absolute error of Laplacian pyramids."""

from __future__ import annotations

from typing import Annotated

from annotated_types import Ge
from torch import Tensor
from torch.nn.functional import interpolate

from enface import DataInfo, Loss, RecipeError, px
from enface_plugins.filters import blur

TAPS = (1 / 16, 4 / 16, 6 / 16, 4 / 16, 1 / 16)


class LaplacianPyramid(Loss):
    """Absolute error at every level of a Laplacian pyramid, so that each octave of detail counts alike.

    With L_j the levels of output - target, j = 0 the finest and the last the low-pass residual: the sum over j of
    |L_j|, each level spread over the pixels it came from. The map's mean is the sum over j of the mean of |L_j|,
    which is sum_j 2^(2j) |L_j|_1 / (C H W): the Lap1 of Bojanowski, Joulin, Lopez-Paz and Szlam, "Optimizing the
    latent space of generative networks", ICML 2018, as a mean over pixels (approximately, if a side cannot be
    halved exactly). The pyramid is Burt and Adelson's, "The Laplacian pyramid as a compact image code", IEEE
    Transactions on Communications 1983: taps 1 4 6 4 1, reflected at the border.

    Shapes: output, target (N, C, H, W) -> (N, C, H, W). Range: [0, 4 levels + 2] for images in [-1, 1]. Unit: the
    image's: a constant difference gives its magnitude, as in L1.

    Args:
        levels: Number of levels besides the residual; default: as many as fit. A level fits while both its sides are
            at least as large as the filter, 5 px.

    Raises:
        RecipeError: when the levels do not fit the images.
    """

    aliases = ("laplacian", "pyramid")
    unit = "per pixel"
    distance = True
    non_negative = True

    def __init__(self, *, data: DataInfo, levels: Annotated[int, Ge(1)] | None = None) -> None:
        super().__init__()
        fitting = _fitting_levels(data.shorter_side)
        self.levels = levels or fitting
        if self.levels > fitting:
            raise RecipeError(
                f"laplacian_pyramid: {self.levels} levels do not fit images of {px(data.size)} px; "
                f"use at most {fitting}"
            )

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        # The pyramid is linear, so one of the difference is enough.
        levels = pyramid(output - target, self.levels)
        error = levels[0].abs()
        for level in levels[1:]:
            error = error + interpolate(level.abs(), error.shape[2:], mode="nearest")
        return error


def pyramid(images: Tensor, levels: int) -> list[Tensor]:
    """Return the Laplacian pyramid of (N, C, H, W): ``levels`` bands from fine to coarse, then the residual.

    Band j is (N, C, H / 2^j, W / 2^j), rounded up. Summing from coarse to fine with :func:`expand` restores the images.
    """
    bands = []
    for _ in range(levels):
        coarse = blur(images, TAPS)[..., ::2, ::2]
        bands.append(images - expand(coarse, images.shape[2], images.shape[3]))
        images = coarse
    return [*bands, images]


def expand(coarse: Tensor, height: int, width: int) -> Tensor:
    """Enlarge to the next finer level by Burt and Adelson's interpolation: (N, C, height, width)."""
    spread = coarse.new_zeros(*coarse.shape[:2], height, width)
    spread[..., ::2, ::2] = coarse
    return 4 * blur(spread, TAPS)


def _fitting_levels(size: int) -> int:
    levels = 0
    while size >= len(TAPS):
        levels, size = levels + 1, (size + 1) // 2
    return levels
