"""Evaluation of pairs by PSNR, SSIM, MS-SSIM and LPIPS (AlexNet), against pyiqa and torchmetrics doing the same.

    python benchmarks/evaluation.py [--pairs 2000] [--slices 10] [--quick]

Pairs of 128 px lie in memory as bytes, the same for all three. Each system turns a batch of them into floats, measures
it and keeps a number an image and metric; memory that is freed is kept by the process. They take the slices of the
pairs in turn. All have the same weights of AlexNet (``enface weights fetch alexnet``) and of LPIPS' linear layers, and
first must agree on some pairs. enface has the batch of ``enface evaluate``, the others that of three with which they
are fastest.

pyiqa and torchmetrics come with ``pip install -e ".[bench]"``; what is missing is left out, and said.
"""

from __future__ import annotations

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
from enface.recipe.models import EngineModel
from enface.train.engine import Engine
from enface_plugins.metrics.pretrained import lpips_network
from enface_plugins.ssim_maps import exponents_for
from enface_tools.evaluate.measure import Measure, batch_for
from metrics import images as noisy
from table import Ratio, Row, in_turn, program, seconds

SIZE = 128
METRICS = ("psnr", "ssim", "ms_ssim", "lpips")
BATCHES = (4, 8, 16)
GOAL = 1.3
# How far the systems' means may lie apart. MS-SSIM's differ by what is done with colours and the border, see below.
APART = {"psnr": 1e-4, "ssim": 2e-5, "ms_ssim": 5e-4, "lpips": 1e-5}

Numbers = dict[str, np.ndarray[Any, np.dtype[np.float64]]]
Pairs = tuple[Tensor, Tensor]
"""Outputs and targets, (N, 3, H, W)."""
System = Callable[[Pairs, int], Numbers]
"""Measures pairs of bytes in batches."""


class Enface:
    """The built-in metrics by :class:`enface_tools.evaluate.measure.Measure`, as ``enface evaluate`` has them."""

    def __init__(self) -> None:
        catalog, data = Catalog(load_plugins()), DataInfo(SIZE)
        built: dict[str, Metric] = {name: catalog.build("metric", name, {}, data).eval() for name in METRICS}
        self._measure = Measure(built)

    def __call__(self, pairs: Pairs, batch: int) -> Numbers:
        parts = [self._measure.batch(output, target) for output, target in floats(pairs, batch)]
        table = self._measure.gather(parts).images
        return {name: table[name].to_numpy(np.float64) for name in METRICS}


class Pyiqa:
    """pyiqa's, of RGB as enface's.

    Its ``ms_ssim`` always has five scales, which 128 px do not hold, so that its own similarity of one scale is called
    at the scales enface has. It takes bytes' values in float64, and the product of the scales' means over all colours.
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
        same_weights(self._lpips.net)

    def __call__(self, pairs: Pairs, batch: int) -> Numbers:
        return gathered(self._measured(output, target) for output, target in floats(pairs, batch))

    def _measured(self, output: Tensor, target: Tensor) -> dict[str, Tensor]:
        return {
            "psnr": self._psnr(output, target),
            "ssim": self._ssim(output, target),
            "ms_ssim": self._ms_ssim(output, target),
            "lpips": self._lpips(output, target),
        }

    def _ms_ssim(self, output: Tensor, target: Tensor) -> Tensor:
        first, second = ((255 * image).round().double() for image in (output, target))
        exponents = exponents_for(SIZE)
        found = torch.ones(len(output), dtype=torch.float64)
        for scale, exponent in enumerate(exponents, start=1):
            whole, contrast = self._one_scale(first, second, get_cs=True, data_range=255)
            found *= (whole if scale == len(exponents) else contrast) ** exponent
            first, second = (torch.nn.functional.avg_pool2d(image, 2) for image in (first, second))
        return found


class Torchmetrics:
    """torchmetrics', a number an image.

    Its SSIM is the mean over the image's border too, which it mirrors; with ``crop`` of the inside alone, as enface's,
    which needs the whole map and is there to see that both agree. At the last scale of MS-SSIM the border counts too,
    and the product is that of means over all colours.
    """

    def __init__(self, *, crop: bool = False) -> None:
        from torchmetrics import image
        from torchmetrics.functional.image import lpips

        self._crop = crop
        each: dict[str, Any] = {"data_range": 1.0, "reduction": "none"}
        with patch.object(lpips, "_get_tv_model_features", lambda name, pretrained: untrained(name)):
            learned = image.LearnedPerceptualImagePatchSimilarity("alex", "none", normalize=True)
        same_weights(learned.net)
        self._metrics = {
            "psnr": image.PeakSignalNoiseRatio(dim=(1, 2, 3), **each),
            "ssim": image.StructuralSimilarityIndexMeasure(return_full_image=crop, **each),
            "ms_ssim": image.MultiScaleStructuralSimilarityIndexMeasure(betas=tuple(exponents_for(SIZE)), **each),
            "lpips": learned,
        }

    @torch.no_grad()
    def __call__(self, pairs: Pairs, batch: int) -> Numbers:
        for output, target in floats(pairs, batch):
            for metric in self._metrics.values():
                metric.update(output, target)
        found = {name: metric.compute() for name, metric in self._metrics.items()}
        if self._crop:
            found["ssim"] = found["ssim"][1][..., 5:-5, 5:-5].mean((1, 2, 3))
        for metric in self._metrics.values():
            metric.reset()
        return {name: values.double().numpy() for name, values in found.items()}


OTHERS: dict[str, Callable[[], System]] = {"pyiqa": Pyiqa, "torchmetrics": Torchmetrics}


def untrained(name: str) -> Any:
    """The convolutions of one of torchvision's networks, without its pretrained weights."""
    import torchvision

    return getattr(torchvision.models, name)(weights=None).features


def same_weights(network: torch.nn.Module) -> None:
    """Gives another system's LPIPS the weights enface has; all three name them as the lpips package does."""
    ours = lpips_network("alex").state_dict()
    network.load_state_dict({name: ours[name] for name in network.state_dict()})


def floats(pairs: Pairs, batch: int) -> Iterator[Pairs]:
    """The pairs in batches of floats in [0, 1]."""
    for output, target in zip(*(images.split(batch) for images in pairs), strict=True):
        yield output.float() / 255, target.float() / 255


def gathered(parts: Iterable[dict[str, Tensor]]) -> Numbers:
    """The numbers of all batches as one."""
    found = list(parts)
    return {name: torch.cat([part[name].flatten() for part in found]).double().numpy() for name in METRICS}


def bytes_of(seed: int, count: int) -> Pairs:
    """Smooth targets and noisy outputs, uint8 (count, 3, 128, 128)."""
    output, target = noisy(seed, count, SIZE)
    return (output * 255).round().byte(), (target * 255).round().byte()


def rows(quick: bool = False, pairs: int = 2000, slices: int = 10) -> list[Row]:
    """Whether all find the same, and seconds of the other systems in times of enface's."""
    if quick:
        pairs, slices = 16, 2
    what = f"evaluating {pairs} pairs of {SIZE} px by PSNR, SSIM, MS-SSIM, LPIPS (AlexNet)"
    found = [
        Row(f"{what}; {name}", 'not installed: pip install -e ".[bench]"', f"{GOAL:g}x", None)
        for name in OTHERS
        if not find_spec(name)
    ]
    try:
        ours = Enface()
    except WeightsError as error:
        return [Row(what, str(error).splitlines()[0], f"{GOAL:g}x", None)]
    others = {name: make() for name, make in OTHERS.items() if find_spec(name)}
    found += [agreement(name, ours, other) for name, other in others.items()]
    # pyiqa and torchmetrics need more memory at a time, and gain more by this.
    with Engine(EngineModel(device="cpu")).freed_memory_kept():
        batches = {"enface": batch_for(torch.device("cpu"), SIZE**2)}
        batches |= {name: fastest(system) for name, system in others.items()}
        taken = in_slices({"enface": ours, **others}, batches, bytes_of(2, pairs), slices)
    for name in others:
        label = f"{what}; {name} {version(name)} (batch {batches[name]}) in times of enface (batch {batches['enface']})"
        found.append(Ratio.of(taken[name], taken["enface"]).row(label, GOAL))
    each = ", ".join(f"{name} {1000 * sum(times) / pairs:.1f}" for name, times in taken.items())
    return [*found, Row("the same, ms a pair", each, "", None)]


def agreement(name: str, ours: System, other: System) -> Row:
    """How far the means of each metric over some pairs lie apart."""
    pairs = bytes_of(1, 16)
    # Its SSIM is compared where both have windows.
    numbers = [system(pairs, 4) for system in (ours, Torchmetrics(crop=True) if name == "torchmetrics" else other)]
    apart = {metric: abs(float(numbers[0][metric].mean() - numbers[1][metric].mean())) for metric in METRICS}
    said = ", ".join(f"{metric} {value:.0e}" for metric, value in apart.items())
    near = all(value <= APART[metric] for metric, value in apart.items())
    return Row(f"means of {len(pairs[0])} pairs by enface and by {name}", f"apart by {said}", "the same", near)


def in_slices(
    systems: Mapping[str, System], batches: Mapping[str, int], pairs: Pairs, slices: int
) -> dict[str, list[float]]:
    """Seconds of each system for each slice of the pairs, after one that does not count."""
    parts = list(zip(*(images.chunk(slices) for images in pairs), strict=True))

    def take(name: str) -> Callable[[], object]:
        ahead = iter([parts[0], *parts])
        return lambda: systems[name](next(ahead), batches[name])

    return in_turn({name: take(name) for name in systems}, len(parts), warm_up=1)


def fastest(system: System) -> int:
    """The batch with which a system needs least time."""
    pairs = bytes_of(3, max(BATCHES))
    system(pairs, max(BATCHES))
    return min(BATCHES, key=lambda batch: seconds(lambda: system(pairs, batch)))


if __name__ == "__main__":
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {platform.machine()}\n")
    program(rows, __doc__)
