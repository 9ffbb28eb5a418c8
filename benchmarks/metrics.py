"""Cost of each metric on one core: the table of docs/researcher/metrics.md.

    python benchmarks/metrics.py [--size 64] [--batch 64] [--repeats 3] [--inception FILE]

Milliseconds of processor time per output and its target: the minimum over several batches of different images, so that
no metric can reuse a result. FID and KID need the file of Inception's weights; their final sum over the set is not
included.
"""

from __future__ import annotations

import argparse
import time

import torch

from enface import DataInfo, FeatureMetric, Metric, WeightsError
from enface.plugin.catalog import Catalog
from enface.plugin.manager import load_plugins


def images(seed: int, count: int, size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return noisy outputs and smooth targets, (count, 3, size, size) in [0, 1]."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, 3, 8, 8, generator=generator)
    target = torch.nn.functional.interpolate(coarse, size=size, mode="bilinear")
    return (target + 0.1 * torch.randn(target.shape, generator=generator)).clamp(0, 1), target


def cost(metric: Metric, seed: int, size: int, batch: int, repeats: int) -> float:
    """Return the milliseconds per output and its target."""
    times = []
    for number in range(repeats + 1):
        output, target = images(seed + number, batch, size)
        start = time.process_time()
        with torch.no_grad():
            if isinstance(metric, FeatureMetric):
                metric.features(output)
                metric.features(target)
            else:
                metric(output, target)
        times.append(time.process_time() - start)
    # The first batch includes what is loaded on first use.
    return 1000 * min(times[1:]) / batch


def main() -> None:
    """Print a row per metric."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--inception", help="File of Inception's weights.")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    catalog, data = Catalog(load_plugins()), DataInfo.square(arguments.size)
    print(f"| metric | ms an image, {arguments.size} px |\n|---|---|")
    for number, name in enumerate(catalog.names("metric")):
        params = {"weights": arguments.inception} if name in ("fid", "kid") and arguments.inception else {}
        try:
            metric = catalog.build("metric", name, params, data).eval()
        except WeightsError as error:
            print(f"| `{name}` | {str(error).splitlines()[0]} |")
            continue
        milliseconds = cost(metric, 1000 * number, arguments.size, arguments.batch, arguments.repeats)
        print(f"| `{name}` | {milliseconds:.3g} |", flush=True)


if __name__ == "__main__":
    main()
