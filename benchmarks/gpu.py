"""The seed's ladder on a CUDA device: time per step of each stage, waiting for data, and share of the device's rate.

    python benchmarks/gpu.py [--compile false reduce-overhead] [--images 20000] [--steps 100] [--trace FILE]

One call measures eager steps and CUDA graphs, in at most ten minutes, and ends with the goals. Images are noise, which
costs a network as much as faces do; labels and pairing are Multi-PIE's (9 poses, 20 lights). Waiting for data is the
time by which a step exceeds a step on a batch in memory. The device's rate is that of a bf16 product of 8192 x 8192
matrices; a network's is that of the operations that torch counts in one step (convolutions and products, a
multiplication and an addition each counted). ``--rehearse`` tests without a CUDA device that everything runs; its
figures mean nothing.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from enface.data.pack import Pack
from seed_run import noise_pack, seed_trainer, steps_on_one_batch, training_steps
from table import Row, markdown

STEPS = {"disentangle": 100_000, "only_l1": 28_000, "mask_l1": 50_000}
"""Documented steps of each stage."""
MATRIX = 8192
WARM_UP = 12
REPEATS = 5
CUDA = torch.cuda.is_available()
# Goals: minutes of the ladder, share of the device's rate at a batch that fills it, share of waiting for data.
MINUTES, RATE, WAITING = 45, 0.4, 0.01


def synchronize() -> None:
    """Wait until the device is idle."""
    if CUDA:
        torch.cuda.synchronize()


def seconds_per_step(take: Callable[[], Any], count: int, warm_up: int = WARM_UP) -> float:
    """Return the median seconds per step over several stretches of steps."""
    for _ in range(warm_up):
        take()
    times, each = [], max(1, count // REPEATS)
    for _ in range(REPEATS):
        synchronize()
        started = time.perf_counter()
        for _ in range(each):
            take()
        synchronize()
        times.append((time.perf_counter() - started) / each)
    return statistics.median(times)


def matrix_rate(size: int) -> float:
    """Return the device's bf16 operations per second."""
    device = "cuda" if CUDA else "cpu"
    first, second = (torch.randn(size, size, device=device, dtype=torch.bfloat16) for _ in range(2))
    return 2 * size**3 / seconds_per_step(lambda: first @ second, 100)


def operations(take: Callable[[], Any]) -> int:
    """Return the operations of one step, as torch counts them."""
    with FlopCounterMode(display=False) as counter:
        take()
    total: int = counter.get_total_flops()
    return total


@dataclass(frozen=True)
class StageTiming:
    """Times of a stage's steps.

    Attributes:
        mode: Value of ``engine.compile``.
        documented: True if the batch size is the documented one.
        waiting: Waiting for data, as a share of a step.
        rate: Operations per second, as a share of the device's rate.
        memory: Peak memory in GiB.
    """

    stage: str
    mode: str
    batch: int
    documented: bool
    seconds: float
    waiting: float
    rate: float
    memory: float

    def __str__(self) -> str:
        return (
            f"| `{self.stage}` | {self.mode} | {self.batch} | {1000 * self.seconds:.2f} "
            f"| {self.batch / self.seconds:.0f} | {self.waiting:.1%} | {self.rate:.1%} | {self.memory:.1f} |"
        )


HEAD = (
    "| stage | compile | batch | ms a step | images/s | waiting for data | of the device's rate | GiB |\n"
    "|---|---|---|---|---|---|---|---|"
)


def time_stage(
    pack: Pack, name: str, mode: str, batch: int | None, arguments: argparse.Namespace, rate: float
) -> StageTiming:
    """Time a stage's steps.

    Args:
        batch: Images per step; default: as documented.
        rate: Operations per second of the device.
    """
    documented = batch not in arguments.batches
    warm_up = 1 if arguments.rehearse else WARM_UP
    overrides = {"engine.compile": mode, "engine.deterministic": arguments.deterministic}
    if batch:
        overrides[f"stages.{name}.batch"] = batch
    with tempfile.TemporaryDirectory() as folder:
        trainer = seed_trainer(pack, Path(folder), overrides)
        take = training_steps(trainer, name).__next__
        if CUDA:
            torch.cuda.reset_peak_memory_stats()
        seconds = seconds_per_step(take, arguments.steps, warm_up)
        memory = torch.cuda.max_memory_allocated() / 2**30 if CUDA else 0.0
        if arguments.trace and documented and name == "disentangle":
            trace(take, arguments.trace.with_suffix(f".{mode}{arguments.trace.suffix}"))
        plain = seed_trainer(pack, Path(folder), {**overrides, "engine.compile": "false"})
        flops = operations(training_steps(plain, name).__next__)
        without_data = seconds_per_step(steps_on_one_batch(trainer, name).__next__, arguments.steps, warm_up)
    size = trainer.run.recipe.stages[name].batch
    waiting = max(1 - without_data / seconds, 0)
    return StageTiming(name, mode, size, documented, seconds, waiting, flops / seconds / rate, memory)


def goals(timings: list[StageTiming]) -> Iterator[Row]:
    """Yield the rows of the goals, each with the best mode of computing."""
    ladders = {
        mode: sum(STEPS[item.stage] * item.seconds for item in timings if item.documented and item.mode == mode) / 60
        for mode in dict.fromkeys(item.mode for item in timings)
    }
    if {item.stage for item in timings if item.documented} == set(STEPS):
        figure = ", ".join(f"{minutes:.1f} min ({mode})" for mode, minutes in ladders.items())
        what = f"the documented ladder, {sum(STEPS.values()):,} steps"
        yield Row(what, figure, f"{MINUTES} min", min(ladders.values()) < MINUTES)
    best = max(timings, key=lambda item: item.rate)
    figure = f"{best.rate:.1%} ({best.stage}, {best.batch} images, {best.mode})"
    yield Row("share of the device's bf16 rate, at a batch that fills it", figure, f"{RATE:.0%}", best.rate >= RATE)
    fastest = min(ladders, key=lambda mode: ladders[mode])
    worst = max((item for item in timings if item.mode == fastest), key=lambda item: item.waiting)
    figure = f"{worst.waiting:.1%} ({worst.stage}, {worst.batch} images, {worst.mode})"
    yield Row("waiting for data, at most", figure, f"{WAITING:.0%}", worst.waiting <= WAITING)


def trace(take: Callable[[], Any], path: Path) -> None:
    """Profile ten steps; write the trace and print the slowest operations."""
    activities = [torch.profiler.ProfilerActivity.CPU]
    if CUDA:
        activities.append(torch.profiler.ProfilerActivity.CUDA)
    with torch.profiler.profile(activities=activities) as profiler:
        for _ in range(10):
            take()
        synchronize()
    profiler.export_chrome_trace(str(path))
    for order in (*(["self_cuda_time_total"] if CUDA else []), "self_cpu_time_total"):
        print(profiler.key_averages().table(sort_by=order, row_limit=15, max_name_column_width=60))


def parse_arguments() -> argparse.Namespace:
    """Return the arguments of the command line; small settings with ``--rehearse``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--compile", nargs="*", default=["false", "reduce-overhead"], help="Values of engine.compile, in turn."
    )
    parser.add_argument("--stages", nargs="*", default=list(STEPS), choices=list(STEPS))
    parser.add_argument("--deterministic", default="true", choices=["true", "false"])
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument(
        "--batches", type=int, nargs="*", default=[256, 1024], help="Further batch sizes of the first stage."
    )
    parser.add_argument("--trace", type=Path, help="Write a profiler's trace of ten steps of the first stage here.")
    parser.add_argument("--rehearse", action="store_true", help="Tiny settings on any device, to test the benchmark.")
    arguments = parser.parse_args()
    if arguments.rehearse:
        arguments.compile, arguments.images, arguments.steps, arguments.batches = ["false"], 4000, REPEATS, [4]
    return arguments


def main() -> int:
    """Measure and print; return 1 if a goal is missed."""
    arguments = parse_arguments()
    if not CUDA and not arguments.rehearse:
        print("no CUDA device; --rehearse tests the benchmark without one", file=sys.stderr)
        return 2
    rate = matrix_rate(256 if arguments.rehearse else MATRIX)
    device = torch.cuda.get_device_name() if CUDA else "CPU"
    print(f"{device}, torch {torch.__version__}; bf16 products: {rate / 1e12:.0f} TFLOP/s\n{HEAD}")
    pack, timings = noise_pack(arguments.images, 100), []
    for mode in arguments.compile:
        for name in arguments.stages:
            documented = 2 if arguments.rehearse else None
            for batch in (documented, *(arguments.batches if name == "disentangle" else ())):
                timings.append(time_stage(pack, name, mode, batch, arguments, rate))
                print(timings[-1], flush=True)
                gc.collect()
                torch.cuda.empty_cache()
    rows = list(goals(timings))
    print(f"\n{markdown(rows)}")
    return 0 if all(row.met for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
