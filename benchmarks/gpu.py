"""The seed's ladder on a CUDA device: steps a second of each stage, the share of waiting for data, and of the card.

    python benchmarks/gpu.py [--compile MODE] [--images 20000] [--steps 60] [--trace FILE]

Pictures are noise, which costs a network as much as faces do; labels and pairing are Multi-PIE's (9 poses, 20 lights).
Waiting for data is what a step takes longer than one whose batch lies ready. The card's own rate is measured with a
bf16 product of 8192 x 8192 matrices; a network's, with the operations that torch counts in one step (convolutions and
products, a multiplication and an addition each counted).
"""

from __future__ import annotations

import argparse
import gc
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from documented import kept, noise_pack, steps, trainer

DOCUMENTED = {"disentangle": 100_000, "only_l1": 28_000, "mask_l1": 50_000}
MATRIX = 8192
WARM_UP = 12


def per_step(take: Callable[[], Any], count: int, repeats: int = 5) -> float:
    """Seconds a step: the median of several stretches."""
    for _ in range(WARM_UP):
        take()
    found = []
    for _ in range(repeats):
        torch.cuda.synchronize()
        started = time.perf_counter()
        for _ in range(count // repeats):
            take()
        torch.cuda.synchronize()
        found.append((time.perf_counter() - started) / (count // repeats))
    return statistics.median(found)


def matrix_rate() -> float:
    """The card's bf16 operations a second."""
    first, second = (torch.randn(MATRIX, MATRIX, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    return 2 * MATRIX**3 / per_step(lambda: first @ second, 100)


def operations(take: Callable[[], Any]) -> int:
    """Operations of one step, as torch counts them."""
    with FlopCounterMode(display=False) as counter:
        take()
    found: int = counter.get_total_flops()
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--compile", default="false", help="engine.compile: false, true or a mode of torch.compile.")
    parser.add_argument("--stages", nargs="*", default=list(DOCUMENTED), choices=list(DOCUMENTED))
    parser.add_argument("--deterministic", default="true", choices=["true", "false"])
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--batches", type=int, nargs="*", default=[256, 1024])
    parser.add_argument("--trace", type=Path, help="Write a profiler's trace of ten steps of the first stage here.")
    arguments = parser.parse_args()
    assert torch.cuda.is_available(), "this needs a CUDA device"
    rate = matrix_rate()
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}; bf16 products: {rate / 1e12:.0f} TFLOP/s")
    pack = noise_pack(arguments.images, 100)
    settings = {"engine.compile": arguments.compile, "engine.deterministic": arguments.deterministic}
    total = 0.0
    print("| stage | batch | ms a step | images/s | waiting for data | of the card's rate | GiB |")
    print("|---|---|---|---|---|---|---|")
    for name in arguments.stages:
        for batch in (None, *(arguments.batches if name == "disentangle" else ())):
            overrides = {**settings, **({f"stages.{name}.batch": batch} if batch else {})}
            with tempfile.TemporaryDirectory() as folder:
                made = trainer(pack, Path(folder), overrides)
                take = steps(made, name).__next__
                size = made.run.recipe.stages[name].batch
                torch.cuda.reset_peak_memory_stats()
                seconds = per_step(take, arguments.steps)
                if arguments.trace and batch is None and name == "disentangle":
                    trace(take, arguments.trace)
                plain = trainer(pack, Path(folder), {**overrides, "engine.compile": "false"})
                flops = operations(steps(plain, name).__next__)
                ready = per_step(kept(made, name).__next__, arguments.steps)
            memory = torch.cuda.max_memory_allocated() / 2**30
            print(
                f"| `{name}` | {size} | {1000 * seconds:.2f} | {size / seconds:.0f} "
                f"| {max(1 - ready / seconds, 0):.1%} | {flops / seconds / rate:.1%} | {memory:.1f} |",
                flush=True,
            )
            if batch is None:
                total += DOCUMENTED[name] * seconds
            del made, take
            gc.collect()
            torch.cuda.empty_cache()
    if set(arguments.stages) == set(DOCUMENTED):
        print(f"\nthe documented ladder, {sum(DOCUMENTED.values())} steps: {total / 60:.1f} min")


def trace(take: Callable[[], Any], path: Path) -> None:
    """Profile ten steps; print what takes longest."""
    activities = [torch.profiler.ProfilerActivity.CPU, torch.profiler.ProfilerActivity.CUDA]
    with torch.profiler.profile(activities=activities) as profiler:
        for _ in range(10):
            take()
        torch.cuda.synchronize()
    profiler.export_chrome_trace(str(path))
    print(profiler.key_averages().table(sort_by="self_cuda_time_total", row_limit=15, max_name_column_width=60))
    print(profiler.key_averages().table(sort_by="self_cpu_time_total", row_limit=12, max_name_column_width=60))


if __name__ == "__main__":
    main()
