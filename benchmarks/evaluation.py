"""Evaluation of pairs by PSNR, SSIM, MS-SSIM and LPIPS (AlexNet) against pyiqa and torchmetrics.

    python benchmarks/evaluation.py [--quick] [--pairs 2000] [--slices 10]

All systems measure the same pairs of 128 px, which are in memory as bytes. Each converts a batch to floats, measures it
and keeps one number per image and metric; the process keeps freed memory. The systems alternate between slices of the
pairs. All use the same weights of AlexNet (``enface weights fetch alexnet``) and of LPIPS' linear layers, and must
agree on some pairs before the timing. enface uses the batch size of ``enface evaluate``, the others the fastest of
three.

pyiqa and torchmetrics are installed by ``pip install -e ".[bench]"``; a missing one is skipped and reported.
"""

from __future__ import annotations

import math
import platform
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor

from enface import DataInfo, Metric, WeightsError
from enface.plugin.catalog import Catalog
from enface.plugin.manager import load_plugins
from enface.system.malloc import freed_memory_kept
from enface_plugins.pretrained.networks import lpips_network
from enface_plugins.ssim_maps import exponents_for
from enface_tools.evaluate.measure import Measure, batch_for
from metrics import images as noisy_images
from table import Ratio, Row, run_program, seconds, time_interleaved

SIZE = 128
METRICS = ("psnr", "ssim", "ms_ssim", "lpips")
BATCHES = (4, 8, 16)
GOAL = 1.3
# Tolerated differences of any pair. MS-SSIM's differ in how colours and the border are treated, see below.
TOLERANCES = {"psnr": 1e-4, "ssim": 2e-5, "ms_ssim": 5e-4, "lpips": 1e-5}

Numbers = np.ndarray[Any, np.dtype[np.float64]]
Values = dict[str, Numbers]
Pairs = tuple[Tensor, Tensor]
"""Outputs and targets, (N, 3, H, W)."""
System = Callable[[Pairs, int], Values]
"""Measures pairs of bytes in batches."""


class Enface:
    """The built-in metrics by :class:`enface_tools.evaluate.measure.Measure`, as ``enface evaluate`` runs them."""

    def __init__(self) -> None:
        catalog, data = Catalog(load_plugins()), DataInfo.square(SIZE)
        built: dict[str, Metric] = {name: catalog.build("metric", name, {}, data).eval() for name in METRICS}
        self._measure = Measure(built)

    def __call__(self, pairs: Pairs, batch: int) -> Values:
        parts = [self._measure.batch(output, target) for output, target in floats(pairs, batch)]
        table = self._measure.gather(parts).images
        return {name: table[name].to_numpy(np.float64) for name in METRICS}


class Pyiqa:
    """pyiqa's metrics, of RGB like enface's.

    Its ``ms_ssim`` always has five scales, for which 128 px are too small, so its similarity of one scale is called at
    enface's scales. It takes values in [0, 255] in float64, and multiplies the scales' means over all colours.
    """

    def __init__(self) -> None:
        import pyiqa
        import torchvision
        from pyiqa.archs import lpips_arch, ssim_arch

        self._psnr = pyiqa.create_metric("psnr", device="cpu", eps=1e-10)
        self._ssim = pyiqa.create_metric("ssimc", device="cpu")
        self._one_scale = ssim_arch.ssim
        plain = torchvision.models.alexnet
        with patch.object(lpips_arch.models, "alexnet", lambda weights: plain(weights=None)):
            self._lpips = pyiqa.create_metric("lpips", device="cpu", pretrained=False)
        load_weights(self._lpips.net)

    def __call__(self, pairs: Pairs, batch: int) -> Values:
        return joined(self._measure(output, target) for output, target in floats(pairs, batch))

    def _measure(self, output: Tensor, target: Tensor) -> dict[str, Tensor]:
        return {
            "psnr": self._psnr(output, target),
            "ssim": self._ssim(output, target),
            "ms_ssim": self._ms_ssim(output, target),
            "lpips": self._lpips(output, target),
        }

    def _ms_ssim(self, output: Tensor, target: Tensor) -> Tensor:
        first, second = ((255 * image).round().double() for image in (output, target))
        exponents = exponents_for((SIZE, SIZE))
        product = torch.ones(len(output), dtype=torch.float64)
        for scale, exponent in enumerate(exponents, start=1):
            whole, contrast = self._one_scale(first, second, get_cs=True, data_range=255)
            product *= (whole if scale == len(exponents) else contrast) ** exponent
            first, second = (torch.nn.functional.avg_pool2d(image, 2) for image in (first, second))
        return product


class Torchmetrics:
    """torchmetrics' metrics, one number per image.

    Its SSIM includes the image's border, which it mirrors, and so does the last scale of its MS-SSIM, which multiplies
    means over all colours.

    Args:
        crop: Exclude the border from SSIM, as enface does, to test the agreement; this computes the whole map.
    """

    def __init__(self, *, crop: bool = False) -> None:
        from torchmetrics import image
        from torchmetrics.functional.image import lpips

        self._crop = crop
        per_image: dict[str, Any] = {"data_range": 1.0, "reduction": "none"}
        with patch.object(lpips, "_get_tv_model_features", lambda name, pretrained: untrained(name)):
            learned = image.LearnedPerceptualImagePatchSimilarity("alex", "none", normalize=True)
        load_weights(learned.net)
        self._metrics = {
            "psnr": image.PeakSignalNoiseRatio(dim=(1, 2, 3), **per_image),
            "ssim": image.StructuralSimilarityIndexMeasure(return_full_image=crop, **per_image),
            "ms_ssim": image.MultiScaleStructuralSimilarityIndexMeasure(
                betas=tuple(exponents_for((SIZE, SIZE))), **per_image
            ),
            "lpips": learned,
        }

    @torch.no_grad()
    def __call__(self, pairs: Pairs, batch: int) -> Values:
        for output, target in floats(pairs, batch):
            for metric in self._metrics.values():
                metric.update(output, target)
        values = {name: metric.compute() for name, metric in self._metrics.items()}
        if self._crop:
            values["ssim"] = values["ssim"][1][..., 5:-5, 5:-5].mean((1, 2, 3))
        for metric in self._metrics.values():
            metric.reset()
        return {name: numbers.double().numpy() for name, numbers in values.items()}


OTHERS: dict[str, Callable[[], System]] = {"pyiqa": Pyiqa, "torchmetrics": Torchmetrics}


def untrained(name: str) -> Any:
    """Return the convolutions of one of torchvision's networks, without its pretrained weights."""
    import torchvision

    return getattr(torchvision.models, name)(weights=None).features


def load_weights(network: torch.nn.Module) -> None:
    """Load enface's weights into another system's LPIPS; all three name them as the lpips package does."""
    weights = lpips_network("alex").state_dict()
    network.load_state_dict({name: weights[name] for name in network.state_dict()})


def floats(pairs: Pairs, batch: int) -> Iterator[Pairs]:
    """Yield the pairs in batches of floats in [0, 1]."""
    for output, target in zip(*(images.split(batch) for images in pairs), strict=True):
        yield output.float() / 255, target.float() / 255


def joined(batches: Iterable[dict[str, Tensor]]) -> Values:
    """Return the values of all batches, concatenated."""
    parts = list(batches)
    return {name: torch.cat([part[name].flatten() for part in parts]).double().numpy() for name in METRICS}


def byte_pairs(seed: int, count: int) -> Pairs:
    """Return noisy outputs and smooth targets, uint8 (count, 3, 128, 128)."""
    output, target = noisy_images(seed, count, SIZE)
    return (output * 255).round().byte(), (target * 255).round().byte()


def rows(quick: bool = False, pairs: int = 2000, slices: int = 10) -> list[Row]:
    """Return the agreement of the systems, and the speed of enface relative to the others.

    Args:
        quick: Few pairs, to test the benchmark.
        pairs: Pairs to measure.
        slices: Parts of the pairs, between which the systems alternate.
    """
    if quick:
        pairs, slices = 16, 2
    what = f"evaluating {pairs} pairs of {SIZE} px by PSNR, SSIM, MS-SSIM, LPIPS (AlexNet)"
    measured = [
        Row(f"{what}; {name}", 'not installed: pip install -e ".[bench]"', f"{GOAL:g}x", None)
        for name in OTHERS
        if not find_spec(name)
    ]
    try:
        enface = Enface()
    except WeightsError as error:
        return [Row(what, str(error).splitlines()[0], f"{GOAL:g}x", None)]
    others = {name: build() for name, build in OTHERS.items() if find_spec(name)}
    measured += [agreement(name, enface, other) for name, other in others.items()]
    # pyiqa and torchmetrics allocate more memory at a time, and gain more by keeping it.
    with freed_memory_kept():
        batches = {"enface": batch_for(torch.device("cpu"), SIZE**2)}
        batches |= {name: fastest_batch(system) for name, system in others.items()}
        times = time_slices({"enface": enface, **others}, batches, byte_pairs(2, pairs), slices)
    for name in others:
        label = f"{what}; {name} {version(name)} (batch {batches[name]}) in times of enface (batch {batches['enface']})"
        measured.append(Ratio.of(times[name], times["enface"]).row(label, GOAL))
    each = ", ".join(f"{name} {1000 * sum(durations) / pairs:.1f}" for name, durations in times.items())
    return [*measured, Row("the same, ms per pair", each, "", None)]


def agreement(name: str, enface: System, other: System) -> Row:
    """Return the largest difference of each metric over some pairs; in means, opposite errors would cancel."""
    pairs = byte_pairs(1, 16)
    # Without the border, which only torchmetrics includes.
    systems = (enface, Torchmetrics(crop=True) if name == "torchmetrics" else other)
    first, second = (system(pairs, 4) for system in systems)
    differences = {metric: largest_difference(first[metric], second[metric]) for metric in METRICS}
    figure = "differ by at most " + ", ".join(f"{metric} {value:.0e}" for metric, value in differences.items())
    agree = all(value <= TOLERANCES[metric] for metric, value in differences.items())
    return Row(f"each of {len(pairs[0])} pairs by enface and by {name}", figure, "the same", agree)


def largest_difference(first: Numbers, second: Numbers) -> float:
    """Return the largest difference of one number per pair; infinity if a number is missing."""
    if first.shape != second.shape or np.isnan(first - second).any():
        return math.inf
    return float(np.abs(first - second).max())


def time_slices(
    systems: Mapping[str, System], batches: Mapping[str, int], pairs: Pairs, slices: int
) -> dict[str, list[float]]:
    """Return seconds of each system for each slice of the pairs, after a first one that is not timed."""
    parts = list(zip(*(images.chunk(slices) for images in pairs), strict=True))

    def measure_next(name: str) -> Callable[[], object]:
        remaining = iter([parts[0], *parts])
        return lambda: systems[name](next(remaining), batches[name])

    return time_interleaved({name: measure_next(name) for name in systems}, len(parts), warm_up=1)


def fastest_batch(system: System) -> int:
    """Return the batch size with which a system takes the least time."""
    pairs = byte_pairs(3, max(BATCHES))
    system(pairs, max(BATCHES))
    return min(BATCHES, key=lambda batch: seconds(lambda: system(pairs, batch)))


if __name__ == "__main__":
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {platform.machine()}\n")
    run_program(rows, __doc__)
