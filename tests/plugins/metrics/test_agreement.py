"""Metrics against other implementations. With ``-s`` each test prints the largest difference, for the documentation.

Images are smooth, 64, 96 and 176 px, and their distortions noise, blur, a shift of brightness, and another image.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from importlib.metadata import version

import numpy as np
import pytest
import pytorch_msssim
import torch
from kornia.filters import gaussian_blur2d
from skimage.color import deltaE_cie76, rgb2lab
from skimage.filters import gaussian
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torch import Tensor

from enface import DataInfo
from enface_plugins.metrics import LPIPS, MAE, PSNR, SSIM, Checkerboard, ColorShift, MsSsim, Sharpness, Spectrum
from enface_plugins.pretrained.networks import ALEXNET, TRUNK_OF, VGG16

DATA = DataInfo.square(96)

SIZES = (64, 96, 176)
needs_trunks = pytest.mark.skipif(
    ALEXNET.find() is None or VGG16.find() is None, reason="needs: enface weights fetch alexnet vgg16"
)


def pairs(sizes: tuple[int, ...] = SIZES) -> Iterator[tuple[Tensor, Tensor]]:
    """Outputs and targets in [0, 1], (4, 3, S, S) each."""
    for size in sizes:
        generator = torch.Generator().manual_seed(size)
        coarse = torch.rand(4, 3, 9, 9, generator=generator)
        target = torch.nn.functional.interpolate(coarse, size=size, mode="bicubic").clamp(0, 1)
        for strength in (0.01, 0.1, 0.5):
            yield (target + strength * torch.randn(target.shape, generator=generator)).clamp(0, 1), target
        yield gaussian_blur2d(target, (9, 9), (2.0, 2.0)), target
        yield (target + 0.1).clamp(0, 1), target
        yield target.roll(1, 0), target


def agree(name: str, reference: str, tolerance: float, values: list[Tensor], expected: list[Tensor]) -> None:
    """Compare values with a reference, and print the largest difference."""
    worst = max(float((one.double() - other.double()).abs().max()) for one, other in zip(values, expected, strict=True))
    count = sum(len(one) for one in values)
    print(f"\n| `{name}` | {reference} | {count} | {worst:.1e} | {tolerance:.0e} |")
    assert worst <= tolerance


def by_numpy(function: Callable[[np.ndarray, np.ndarray], float], output: Tensor, target: Tensor) -> Tensor:
    """Apply a function of images (H, W, 3) in float64 to each image."""
    images = (image.permute(0, 2, 3, 1).numpy().astype(np.float64) for image in (output, target))
    return torch.tensor([function(one, other) for one, other in zip(*images, strict=True)], dtype=torch.float64)


def test_mae():
    given = list(pairs())
    agree(
        "mae",
        "NumPy, float64",
        1e-6,
        [MAE(data=DATA)(*pair) for pair in given],
        [by_numpy(lambda o, t: np.abs(o - t).mean(), *pair) for pair in given],
    )


def test_psnr():
    given = list(pairs())
    expected = [by_numpy(lambda o, t: peak_signal_noise_ratio(t, o, data_range=1), *pair) for pair in given]
    agree("psnr", "scikit-image, float64", 2e-5, [PSNR(data=DATA)(*pair) for pair in given], expected)


def ssim_of(output: np.ndarray, target: np.ndarray) -> float:
    settings = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    return float(structural_similarity(target, output, data_range=1, channel_axis=-1, **settings))


def test_ssim():
    given = list(pairs())
    values = [SSIM(data=DataInfo.square(pair[0].shape[-1]))(*pair) for pair in given]
    agree("ssim", "scikit-image, Gaussian, float64", 5e-5, values, [by_numpy(ssim_of, *pair) for pair in given])


def test_ssim_of_piq():
    piq = pytest.importorskip("piq")
    given = list(pairs())
    values = [SSIM(data=DataInfo.square(pair[0].shape[-1]))(*pair) for pair in given]
    expected = [piq.ssim(*pair, downsample=False, reduction="none") for pair in given]
    agree("ssim", "piq, downsample=False", 5e-5, values, expected)


def test_ssims_map():
    given = list(pairs())
    metrics = [SSIM(data=DataInfo.square(pair[0].shape[-1])) for pair in given]
    values = [metric.map(*pair).flatten(1).mean(1) for metric, pair in zip(metrics, given, strict=True)]
    agree("ssim", "scikit-image; the mean of the map", 5e-5, values, [by_numpy(ssim_of, *pair) for pair in given])


def test_ms_ssim():
    given = list(pairs((176, 203)))
    values = [MsSsim(data=DataInfo.square(pair[0].shape[-1]))(*pair) for pair in given]
    expected = [pytorch_msssim.ms_ssim(*pair, data_range=1.0, size_average=False) for pair in given]
    agree("ms_ssim", "pytorch-msssim, 5 scales", 1e-6, values, expected)


def test_fewer_scales_of_ms_ssim():
    given = list(pairs((176, 203)))
    metrics = [MsSsim(data=DataInfo.square(pair[0].shape[-1]), scales=4) for pair in given]
    values = [metric(*pair) for metric, pair in zip(metrics, given, strict=True)]
    settings = {"data_range": 1.0, "size_average": False, "weights": metrics[0].exponents}
    expected = [pytorch_msssim.ms_ssim(*pair, **settings) for pair in given]
    agree("ms_ssim", "pytorch-msssim, 4 scales", 1e-6, values, expected)


def test_ms_ssim_of_piq():
    piq = pytest.importorskip("piq")
    # At odd sides piq repeats the first row and pytorch-msssim pads with zeros, so all sides here stay even.
    given = list(pairs((64, 96, 176)))
    metrics = [MsSsim(data=DataInfo.square(pair[0].shape[-1])) for pair in given]
    values = [metric(*pair) for metric, pair in zip(metrics, given, strict=True)]
    expected = [
        piq.multi_scale_ssim(*pair, scale_weights=torch.tensor(metric.exponents), reduction="none")
        for metric, pair in zip(metrics, given, strict=True)
    ]
    agree("ms_ssim", "piq, 3, 4 and 5 scales", 1e-4, values, expected)


@needs_trunks
@pytest.mark.parametrize("net", ["alex", "vgg"])
def test_lpips(net):
    import lpips

    # The package's own constructor and network, with the fetched trunk.
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        warnings.simplefilter("ignore")
        network = lpips.LPIPS(net=net, pnet_rand=True, verbose=False).eval()
    trunk = TRUNK_OF[net].load()
    for name, parameter in network.net.named_parameters():
        _, position, kind = name.split(".")
        parameter.data.copy_(trunk[f"features.{position}.{kind}"])
    given = list(pairs((64, 96)))
    with torch.no_grad():
        values = [LPIPS(data=DataInfo.square(64), net=net)(*pair) for pair in given]
        expected = [network(*pair, normalize=True).flatten() for pair in given]
    agree("lpips", f"lpips {version('lpips')}, {net}", 1e-5, values, expected)


def energy(image: np.ndarray) -> float:
    steps = [np.diff(image, axis=axis) for axis in (0, 1)]
    # Rounding a value to steps of 1/255 has an error of variance 1/12 of a squared step; a difference has two.
    return float(sum(np.square(step).sum() + step.size * 2 / 12 / 255**2 for step in steps))


def bounded(ratio: float) -> float:
    return ratio if ratio <= 1 else 2 - 1 / ratio


def test_sharpness():
    given = list(pairs())
    expected = [by_numpy(lambda o, t: bounded(energy(o) / energy(t)), *pair) for pair in given]
    ratios = [Sharpness(data=DATA)(*pair) / each.float() for pair, each in zip(given, expected, strict=True)]
    agree("sharpness", "NumPy, float64 (relative)", 1e-5, ratios, [torch.ones_like(each) for each in expected])


def delta_e(output: np.ndarray, target: np.ndarray) -> float:
    sigma = output.shape[0] / 24
    # scipy's "mirror" is torch's "reflect".
    settings = {"sigma": sigma, "mode": "mirror", "truncate": np.ceil(3 * sigma) / sigma, "channel_axis": -1}
    return float(deltaE_cie76(*(rgb2lab(gaussian(image, **settings)) for image in (output, target))).mean())


def test_color_shift():
    given = list(pairs())
    values = [ColorShift(data=DATA)(*pair) for pair in given]
    agree("color_shift", "scikit-image, float64", 1e-3, values, [by_numpy(delta_e, *pair) for pair in given])


def powers(image: np.ndarray) -> np.ndarray:
    luma = image @ np.array([0.299, 0.587, 0.114])
    size = len(luma)
    window = np.outer(*[0.5 - 0.5 * np.cos(2 * np.pi * np.arange(size) / size)] * 2)
    window /= window.sum()
    power = np.abs(np.fft.fft2((luma - (luma * window).sum()) * window)) ** 2
    at = np.fft.fftfreq(size, 1 / size)
    radius = np.hypot(at[:, None], at[None]).round()
    # Power of independent rounding errors of variance 1/12 of a step of 1/255 in three channels.
    floor = (0.299**2 + 0.587**2 + 0.114**2) / 12 / 255**2 * np.square(window).sum()
    return np.array([max(power[radius == r].mean(), floor) for r in range(1, size // 2 + 1)])


def test_spectrum():
    given = list(pairs())
    expected = [by_numpy(lambda o, t: np.abs(np.log10(powers(o) / powers(t))).mean(), *pair) for pair in given]
    agree("spectrum", "NumPy, float64", 1e-4, [Spectrum(data=DATA)(*pair) for pair in given], expected)


def peaks(image: np.ndarray) -> np.ndarray:
    size = len(image)
    window = np.outer(*[0.5 - 0.5 * np.cos(2 * np.pi * np.arange(size) / size)] * 2)
    window /= window.sum()
    heights = []
    for channel in np.moveaxis(image, -1, 0):
        amplitude = np.abs(np.fft.fft2((channel - (channel * window).sum()) * window))
        for down, across in [(down, across) for down in range(4) for across in range(4) if down or across]:
            ring = [(i, j) for i in range(-5, 6) for j in range(-5, 6) if max(abs(i), abs(j)) > 2]
            v, u = down * size // 4, across * size // 4
            around = sorted(amplitude[(v + i) % size, (u + j) % size] for i, j in ring)
            # The lower median, as in torch.
            heights.append(max(0.0, amplitude[v, u] - around[(len(around) - 1) // 2]))
    return np.array(heights)


def test_checkerboard():
    given = list(pairs((64, 96)))
    expected = [by_numpy(lambda o, t: np.maximum(peaks(o) - peaks(t), 0).sum() / 3, *pair) for pair in given]
    values = [Checkerboard(data=DataInfo.square(pair[0].shape[-1]))(*pair) for pair in given]
    agree("checkerboard", "NumPy, float64", 1e-7, values, expected)
