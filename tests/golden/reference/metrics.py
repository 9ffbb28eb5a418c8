"""Metrics by their published formulas, in NumPy, SciPy and scikit-image, float64; images in [0, 1]."""

from __future__ import annotations

import math

import numpy as np
from scipy import ndimage
from skimage import color, metrics

from reference import critics, networks, pixels


def l1(output, target):
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
    """Mean power of the luma at each rounded radius; after Durall et al. (2020), with a Hann window."""
    luma = np.einsum("nchw,c->nhw", image, [0.299, 0.587, 0.114])
    power = hann_spectrum(luma) ** 2
    side = luma.shape[-1]
    steps = np.fft.fftfreq(side) * side
    radius = np.rint(np.hypot(steps[:, None], steps))
    return np.stack([power[:, radius == r].mean(1) for r in range(1, side // 2 + 1)], axis=1).clip(1e-12)


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
    places = np.arange(image.shape[-1])
    side = 0.5 - 0.5 * np.cos(2 * np.pi * places / len(places))
    window = np.outer(side, side) / side.sum() ** 2
    mean = (image * window).sum((-2, -1), keepdims=True)
    return np.abs(np.fft.fft2((image - mean) * window))


def fid(outputs, targets):
    """|m - m'|^2 + trace(S + S' - 2 (S S')^(1/2)); the last trace is the sum of the roots of the eigenvalues."""
    spreads = [np.cov(item, rowvar=False) for item in (outputs, targets)]
    roots = np.sqrt(np.linalg.eigvals(spreads[0] @ spreads[1]).real.clip(0))
    means = outputs.mean(0) - targets.mean(0)
    return means @ means + np.trace(spreads[0]) + np.trace(spreads[1]) - 2 * roots.sum()


def kid(outputs, targets):
    """Unbiased squared maximum mean discrepancy of (x . y / D + 1)^3: equation 4 of the paper, over all pairs."""

    def kernel(one, other):
        return (one @ other.T / one.shape[1] + 1) ** 3

    def within(items):
        values = kernel(items, items)
        return (values.sum() - np.trace(values)) / (len(items) * (len(items) - 1))

    return within(outputs) + within(targets) - 2 * kernel(outputs, targets).mean()


def identity(output, target, weights, size, low, high, colour):
    codes = [critics.embedding(item, weights, size, low, high, colour) for item in (output, target)]
    return critics.cosine(*codes)


def rank_1(outputs, identities, gallery, gallery_identities):
    matched = [
        gallery_identities[int(np.argmax([critics.cosine(one, other) for other in gallery]))] == identity
        for one, identity in zip(outputs, identities, strict=True)
    ]
    return np.array(matched, float)
