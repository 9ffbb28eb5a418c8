"""Gradient energy relative to the target's."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from enface import DataInfo, Metric
from enface_plugins.metrics.cards import pixel_card


class Sharpness(Metric):
    """Gradient energy of the output as a share of the target's; 2 minus the inverse share if the output has more.

    The energy E is the sum of squared differences between neighbouring pixels, right and below, over all planes, plus
    the energy of rounding to the data's 8 or 16 bits, 1/6 of a squared step per difference. The value is E_output /
    E_target up to 1, and 2 - E_target / E_output above, so that it is bounded and treats both directions alike: half
    the target's energy gives 0.5, twice as much gives 1.5. The plain ratio has no bound, and one nearly flat target
    would decide the mean over all images.

    It measures the amount of detail, not its place: noise is sharp too, so read it together with SSIM or LPIPS. A
    focus measure after Brenner et al., "An automated microscope for cytologic research", Journal of Histochemistry
    and Cytochemistry, 1976, with neighbours one pixel apart in both directions.

    Over a region a difference has the smaller weight of its two pixels, divided by the image's largest weight.

    Shapes: output, target (N, C, H, W) in [0, 1] -> (N,). Range: [0, 2]; 1 for equal energy, the best value; below
    1 for a blurred output.
    """

    higher_is_better: ClassVar[bool] = True
    default: ClassVar[bool] = True
    ideal: ClassVar[float | None] = 1.0
    bounds: ClassVar[tuple[float, float] | None] = (0.0, 2.0)

    def __init__(self, *, data: DataInfo) -> None:
        super().__init__()
        self.data = data
        # Expected square of the difference that rounding adds between two values: twice 1/12 of a step squared.
        self.rounding = 1 / (6 * (2**data.depth - 1) ** 2)

    @property
    def card(self) -> dict[str, str]:
        return {
            **pixel_card(self.data),
            "formula": "ratio up to 1, 2 - 1 / ratio above; energy of rounding added to both",
        }

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        return _share(*(self._energy(image, torch.ones_like(image[:1, :1])) for image in (output, target)))[:, 0]

    def regional(self, output: Tensor, target: Tensor, weights: Tensor) -> Tensor:
        # An empty region gives 0 / 0, the NaN it should have.
        share = weights / weights.amax((-2, -1), keepdim=True)
        return _share(self._energy(output, share), self._energy(target, share))

    def _energy(self, image: Tensor, share: Tensor) -> Tensor:
        """Squared differences in each of R regions, weighted by the share of their pixels in it: (N, R)."""
        across = self._squares(image.diff(dim=-1)) * torch.minimum(share[..., 1:], share[..., :-1])
        down = self._squares(image.diff(dim=-2)) * torch.minimum(share[..., 1:, :], share[..., :-1, :])
        return across.flatten(2).sum(2) + down.flatten(2).sum(2)

    def _squares(self, differences: Tensor) -> Tensor:
        """Energy of each difference with that of rounding, summed over planes: (N, C, h, w) -> (N, 1, h, w)."""
        return (differences.square() + self.rounding).sum(1, keepdim=True)


def _share(output: Tensor, target: Tensor) -> Tensor:
    return torch.where(output <= target, output / target, 2 - target / output)
