"""Metrics by their published formulas, in NumPy, SciPy and scikit-image, float64; images in [0, 1]."""

from __future__ import annotations

import math

import numpy as np
from scipy import ndimage
from skimage import color, metrics

from reference import critics, networks, pixels


def mae(output, target):
    return np.abs(output - target).mean((1, 2, 3))


def psnr(output, target):
    pairs = zip(target, output, strict=True)
    return np.array([metrics.peak_signal_noise_ratio(*pair, data_range=1) for pair in pairs])


def ssim(output, target):
    settings = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 1}
    pairs = zip(output, target, strict=True)
    return np.array([metrics.structural_similarity(*pair, channel_axis=0, **settings) for pair in pairs])


def ms_ssim(output, target, exponents):
    return pixels.multi_scale_ssim(output, target, exponents)


def lpips(output, target, net):
    return networks.lpips(2 * output - 1, 2 * target - 1, net)


def color_shift(output, target, sigma):
    """CIE 1976 difference of blurred images, with scikit-image's conversion to L*a*b*."""
    labs = [_lab(item, sigma * item.shape[-1]) for item in (output, target)]
    return color.deltaE_cie76(*labs).mean((1, 2))


def _lab(image, sigma):
    reach = min(math.ceil(3 * sigma), min(image.shape[2:]) - 1)
    blurred = ndimage.gaussian_filter(image, sigma, axes=(2, 3), mode="mirror", radius=reach)
    return color.rgb2lab(np.moveaxis(blurred, 1, -1))


def spectrum(output, target):
    return np.abs(np.log10(_radial(output)) - np.log10(_radial(target))).mean(1)


def _radial(image):
    """Mean power of the luma at each rounded radius, at least that of errors of rounding its channels to 8 bits."""
    weights = np.array([0.299, 0.587, 0.114])
    luma = np.einsum("nchw,c->nhw", image, weights)
    power = hann_spectrum(luma) ** 2
    side = luma.shape[-1]
    steps = np.fft.fftfreq(side) * side
    radius = np.rint(np.hypot(steps[:, None], steps))
    floor = (hann(side) ** 2).sum() * (weights**2).sum() / (12 * 255**2)
    return np.stack([power[:, radius == r].mean(1) for r in range(1, side // 2 + 1)], axis=1).clip(floor)


def sharpness(output, target):
    """Ratio r of gradient energies, each with that of rounding to 8 bits; 2 - 1 / r above 1."""
    energy, energy_target = _energy(output), _energy(target)
    return np.where(energy < energy_target, energy / energy_target, 2 - energy_target / energy)


def _energy(image):
    steps = [np.diff(image, axis=axis).reshape(len(image), -1) for axis in (2, 3)]
    # Two rounding errors of variance 1/12 of a squared level each.
    return sum((step**2 + 2 / 12 / 255**2).sum(1) for step in steps)


def checkerboard(output, target):
    return np.maximum(_peaks(output) - _peaks(target), 0).sum(-1).mean(-1)


def _peaks(image):
    """Height of the 15 grid frequencies above the lower median of the ring 3 to 5 steps around each."""
    spectrum, side = hann_spectrum(image), image.shape[-1]
    heights = []
    for down, across in list(np.ndindex(4, 4))[1:]:
        y, x = down * side // 4, across * side // 4
        ring = [
            spectrum[..., (y + i) % side, (x + j) % side]
            for i in range(-5, 6)
            for j in range(-5, 6)
            if max(abs(i), abs(j)) >= 3
        ]
        heights.append(np.maximum(spectrum[..., y, x] - np.quantile(ring, 0.5, axis=0, method="lower"), 0))
    return np.stack(heights, axis=-1)


def hann_spectrum(image):
    """Amplitudes of square images minus their mean, both weighted by the periodic Hann window, (..., S, S)."""
    window = hann(image.shape[-1])
    mean = (image * window).sum((-2, -1), keepdims=True)
    return np.abs(np.fft.fft2((image - mean) * window))


def hann(length):
    """The periodic Hann window of squares, of sum 1."""
    side = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(length) / length)
    return np.outer(side, side) / side.sum() ** 2


def fid(outputs, targets):
    """|m - m'|^2 + trace(S + S' - 2 (S S')^(1/2)); the last trace is the sum of the roots of the eigenvalues."""
    spreads = [np.cov(item, rowvar=False) for item in (outputs, targets)]
    roots = np.sqrt(np.linalg.eigvals(spreads[0] @ spreads[1]).real.clip(0))
    means = outputs.mean(0) - targets.mean(0)
    return means @ means + np.trace(spreads[0]) + np.trace(spreads[1]) - 2 * roots.sum()


def kid(outputs, targets, identities=None, target_identities=None):
    """Unbiased squared maximum mean discrepancy of (x . y / D + 1)^3, of pairs of different people, one by one."""
    count = len(outputs)
    people = np.arange(count) if identities is None else identities
    others = count + np.arange(len(targets)) if target_identities is None else target_identities

    def mean(one, ones, other, others):
        pairs = [(x, y) for x, a in zip(one, ones, strict=True) for y, b in zip(other, others, strict=True) if a != b]
        return np.mean([(x @ y / len(x) + 1) ** 3 for x, y in pairs])

    within = mean(outputs, people, outputs, people) + mean(targets, others, targets, others)
    return within - 2 * mean(outputs, people, targets, others)


def identity(output, target, weights, size, low, high, colour):
    codes = [critics.embedding(item, weights, size, low, high, colour) for item in (output, target)]
    return critics.cosine(*codes)


def rank_1(outputs, identities, gallery, gallery_identities):
    similar = _cosines(outputs, gallery)
    return (gallery_identities[similar.argmax(1)] == identities).astype(float)


def tar(outputs, identities, gallery, gallery_identities, far):
    """Accepted above the lowest threshold that at most a share ``far`` of the impostor scores exceeds."""
    similar, own = _cosines(outputs, gallery), identities[:, None] == gallery_identities
    impostors = np.sort(similar[~own])
    threshold = next(score for score in impostors if (impostors > score).mean() <= far)
    return (similar[own] > threshold).astype(float)


def _cosines(outputs, gallery):
    return np.array([[critics.cosine(one, other) for other in gallery] for one in outputs])
