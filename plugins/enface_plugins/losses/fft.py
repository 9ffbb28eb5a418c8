"""Absolute error of spectra."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from enface import Loss


class FFT(Loss):
    """Absolute error of the images' spectra: each frequency depends on all pixels.

    With F the orthonormal 2-D discrete Fourier transform of each channel: the mean of |F(output) - F(target)|
    (``complex``) or of ||F(output)| - |F(target)|| (``amplitude``). The first after Cho et al., "Rethinking
    coarse-to-fine approach in single image deblurring", ICCV 2021, with the modulus instead of its real and imaginary
    parts; the second is the amplitude term of Fuoli, Van Gool and Timofte, "Fourier space losses for efficient
    perceptual image super-resolution", ICCV 2021, over the whole plane.

    Shapes: output, target (N, C, H, W) -> (N,). Range: [0, root of the image's MSE], so at most 2 for images in
    [-1, 1]; ``amplitude`` is never above ``complex``. Unit: the image's. A mask needs ``mask_on: images``.

    Args:
        compare: ``complex`` numbers, or only their ``amplitude``, which circular shifts do not change: texture
            regardless of position.
    """

    aliases = ("fourier", "frequency")
    unit = "per image"
    distance = True
    non_negative = True

    def __init__(self, *, compare: Literal["complex", "amplitude"] = "complex") -> None:
        super().__init__()
        self.compare = compare

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        # In torch the modulus has gradient 0 at 0.
        if self.compare == "complex":
            return _spectrum(output - target).abs().mean((1, 2, 3))
        return (_spectrum(output).abs() - _spectrum(target).abs()).abs().mean((1, 2, 3))


def _spectrum(images: Tensor) -> Tensor:
    return torch.fft.fft2(images, norm="ortho")
