"""Focal frequency loss."""

from __future__ import annotations

from typing import Annotated

import torch
from annotated_types import Ge
from torch import Tensor

from enface import Loss


class FocalFrequency(Loss):
    """Squared error of spectra, weighted towards the frequencies with the largest errors.

    With D the orthonormal 2-D discrete Fourier transform of output - target, one for each image and channel: the
    mean of w |D|^2 over frequencies and channels, where w = (|D| / max |D|)^alpha is held constant in the
    gradient. After Jiang, Dai, Wu and Loy, "Focal frequency loss for image reconstruction and synthesis", ICCV 2021,
    on whole images.

    Shapes: output, target (N, C, H, W) -> (N,). Range: [0, MSE of the image], which is at most 4 for images in
    [-1, 1]. Unit: the image's, squared. A mask needs ``mask_on: images``.

    Args:
        alpha: Strength of the weighting; at 0 all frequencies count alike, and the loss is the squared error.
    """

    aliases = ("ffl", "frequency")
    unit = "per image"
    distance = True
    non_negative = True

    def __init__(self, *, alpha: Annotated[float, Ge(0)] = 1.0) -> None:
        super().__init__()
        self.alpha = alpha

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        spectrum = torch.fft.fft2(output - target, norm="ortho")
        # Not abs().square(): the modulus has no derivative at 0.
        power = spectrum.real.square() + spectrum.imag.square()
        return (self._weights(power.detach()) * power).mean((1, 2, 3))

    def _weights(self, power: Tensor) -> Tensor:
        peak = power.amax((2, 3), keepdim=True)
        # If the error is 0 everywhere, any finite weights will do.
        return (power / peak.clamp(min=torch.finfo(power.dtype).tiny)) ** (self.alpha / 2)
