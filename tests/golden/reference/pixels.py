"""Losses of pixels by their published formulas, in NumPy and SciPy, float64: output, target -> map or (N,)."""

from __future__ import annotations

import math

import numpy as np
from scipy import ndimage, special

AXES = (2, 3)


def l1(output, target):
    return np.abs(output - target)


def mse(output, target):
    return (output - target) ** 2


def charbonnier(output, target, eps):
    return np.hypot(output - target, eps)


def huber(output, target, delta):
    return special.huber(delta, output - target)


def color(output, target, sigma):
    return np.abs(_blurred(output, sigma) - _blurred(target, sigma))


def gradient(output, target, operator="sobel"):
    parts = [_slope(output, axis, operator) - _slope(target, axis, operator) for axis in AXES]
    return sum(np.abs(part) for part in parts) / 2


def total_variation(output, penalty="absolute"):
    power = {"absolute": 1, "squared": 2}[penalty]
    return sum(np.abs(_step(output, axis)) ** power for axis in AXES)


def symmetry(output):
    return np.abs(output - output[..., ::-1])


def gradient_variance(output, target, patch):
    return np.concatenate(
        [(_patch_variance(output, axis, patch) - _patch_variance(target, axis, patch)) ** 2 for axis in (3, 2)], axis=1
    )


def laplacian_pyramid(output, target, levels):
    """Sum over levels of the absolute error; a coarse pixel counts at all pixels that it stands for."""
    bands = zip(_pyramid(output, levels), _pyramid(target, levels), strict=True)
    total = np.zeros_like(output)
    for level, (one, other) in enumerate(bands):
        spread = np.abs(one - other).repeat(2**level, 2).repeat(2**level, 3)
        total += spread[:, :, : output.shape[2], : output.shape[3]]
    return total


def fft(output, target, compare="complex"):
    one, other = (np.fft.fft2(item) / math.sqrt(item.shape[2] * item.shape[3]) for item in (output, target))
    error = one - other if compare == "complex" else np.abs(one) - np.abs(other)
    return np.abs(error).mean((1, 2, 3))


def focal_frequency(output, target, alpha=1.0, held=None):
    """Weighted squared error of spectra. The weights are those of ``held``, an output, if it is given."""
    weight = np.abs(_spectral_error(output if held is None else held, target)) ** alpha
    weight /= weight.max(AXES, keepdims=True)
    return (weight * np.abs(_spectral_error(output, target)) ** 2).mean((1, 2, 3))


def ssim(output, target):
    """1 - SSIM of images in [-1, 1] at every pixel, with the image reflected at the border."""
    one, other = (output + 1) / 2, (target + 1) / 2
    luminance, contrast = ssim_factors(one, other, _window)
    return 1 - luminance * contrast


def ms_ssim(output, target, exponents):
    return 1 - multi_scale_ssim((output + 1) / 2, (target + 1) / 2, exponents)


def ssim_factors(one, other, window):
    """Luminance, and the product of contrast and structure: equations 6, 9 and 10 of the paper."""
    mean, mean_other = window(one), window(other)
    variance = window(one**2) - mean**2
    variance_other = window(other**2) - mean_other**2
    covariance = window(one * other) - mean * mean_other
    luminance = (2 * mean * mean_other + 0.01**2) / (mean**2 + mean_other**2 + 0.01**2)
    return luminance, (2 * covariance + 0.03**2) / (variance + variance_other + 0.03**2)


def multi_scale_ssim(one, other, exponents):
    """Equation 7 of the paper for each channel, then the mean; windows lie inside the image."""
    product = 1.0
    for scale, exponent in enumerate(exponents):
        luminance, contrast = ssim_factors(one, other, lambda image: _window(image)[..., 5:-5, 5:-5])
        last = scale == len(exponents) - 1
        factor = (luminance * contrast if last else contrast).mean(AXES)
        product = product * np.maximum(factor, 0) ** exponent
        one, other = _halved(one), _halved(other)
    return product.mean(1)


def _window(image):
    return ndimage.gaussian_filter(image, 1.5, axes=AXES, mode="mirror", radius=5)


def _halved(image):
    """Means of 2 x 2 px; an odd side gets a row of zeros in front, as in pytorch-msssim."""
    odd = [(side % 2, 0) for side in image.shape[2:]]
    padded = np.pad(image, [(0, 0), (0, 0), *odd])
    padded = padded[:, :, : padded.shape[2] // 2 * 2, : padded.shape[3] // 2 * 2]
    return (padded[..., ::2, ::2] + padded[..., 1::2, ::2] + padded[..., ::2, 1::2] + padded[..., 1::2, 1::2]) / 4


def _blurred(image, sigma):
    return ndimage.gaussian_filter(image, sigma, axes=AXES, mode="mirror", radius=math.ceil(3 * sigma))


def _slope(image, axis, operator):
    if operator == "difference":
        return _step(image, axis)
    across = ndimage.correlate1d(image, [-1, 0, 1], axis, mode="nearest")
    return ndimage.correlate1d(across, [1, 2, 1], 5 - axis, mode="nearest") / 8


def _step(image, axis):
    """The next pixel minus the pixel; 0 at the last."""
    last = np.take(image, [-1], axis)
    return np.diff(image, axis=axis, append=last)


def _patch_variance(image, axis, patch):
    step = _step(image, axis)
    rows, columns = step.shape[2] // patch, step.shape[3] // patch
    blocks = step[:, :, : rows * patch, : columns * patch].reshape(*step.shape[:2], rows, patch, columns, patch)
    return blocks.var((3, 5))


def _pyramid(image, levels):
    """Burt and Adelson's pyramid: levels from fine to coarse, then the residual."""
    bands = []
    for _ in range(levels):
        coarse = _smooth(image)[:, :, ::2, ::2]
        zeros = np.zeros_like(image)
        zeros[:, :, ::2, ::2] = coarse
        bands.append(image - 4 * _smooth(zeros))
        image = coarse
    return [*bands, image]


def _smooth(image):
    taps = np.array([1, 4, 6, 4, 1]) / 16
    for axis in AXES:
        image = ndimage.convolve1d(image, taps, axis, mode="mirror")
    return image


def _spectral_error(output, target):
    return np.fft.fft2(output - target, norm="ortho")
