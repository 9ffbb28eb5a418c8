"""The seed's ladder on a CUDA device: steps a second of each stage, the share of waiting for data, and of the card.

    python benchmarks/gpu.py [--compile false reduce-overhead] [--images 20000] [--steps 100] [--trace FILE]

One call measures eager steps and CUDA graphs, in ten minutes at most, and ends with the goals. Pictures are noise,
which costs a network as much as faces do; labels and pairing are Multi-PIE's (9 poses, 20 lights). Waiting for data is
what a step takes longer than one whose batch lies ready. The card's own rate is measured with a bf16 product of
8192 x 8192 matrices; a network's, with the operations that torch counts in one step (convolutions and products, a
multiplication and an addition each counted). ``--rehearse`` shows without a card that all of it runs; its figures mean
nothing.
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
from seed_run import kept, noise_pack, steps, trainer
from table import Row, table

DOCUMENTED = {"disentangle": 100_000, "only_l1": 28_000, "mask_l1": 50_000}
MATRIX = 8192
WARM_UP = 12
REPEATS = 5
CARD = torch.cuda.is_available()
# Goals: the ladder's minutes, the part of the card's rate at a batch that fills it, waiting for data.
MINUTES, RATE, WAITING = 45, 0.4, 0.01


def done() -> None:
    """Wait until the device has nothing left to do."""
    if CARD:
        torch.cuda.synchronize()


def per_step(take: Callable[[], Any], count: int, warm_up: int = WARM_UP) -> float:
    """Seconds a step: the median of several stretches."""
    for _ in range(warm_up):
        take()
    found, each = [], max(1, count // REPEATS)
    for _ in range(REPEATS):
        done()
        started = time.perf_counter()
        for _ in range(each):
            take()
        done()
        found.append((time.perf_counter() - started) / each)
    return statistics.median(found)


def matrix_rate(size: int) -> float:
    """The device's bf16 operations a second."""
    device = "cuda" if CARD else "cpu"
    first, second = (torch.randn(size, size, device=device, dtype=torch.bfloat16) for _ in range(2))
    return 2 * size**3 / per_step(lambda: first @ second, 100)


def operations(take: Callable[[], Any]) -> int:
    """Operations of one step, as torch counts them."""
    with FlopCounterMode(display=False) as counter:
        take()
    found: int = counter.get_total_flops()
    return found


@dataclass(frozen=True)
class Found:
    """What a stage's steps took.

    Attributes:
        documented: Whether the batch is the one documented of the stage.
        waiting: For data, as a part of a step.
        rate: As a part of the device's.
        memory: At most, in GiB.
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
    "| stage | compile | batch | ms a step | images/s | waiting for data | of the card's rate | GiB |\n"
    "|---|---|---|---|---|---|---|---|"
)


def measured(pack: Pack, name: str, mode: str, batch: int | None, arguments: argparse.Namespace, rate: float) -> Found:
    """A stage's steps.

    Args:
        batch: The documented one unless given.
        rate: Operations a second of the device.
    """
    documented = batch not in arguments.batches
    warm_up = 1 if arguments.rehearse else WARM_UP
    overrides = {"engine.compile": mode, "engine.deterministic": arguments.deterministic}
    if batch:
        overrides[f"stages.{name}.batch"] = batch
    with tempfile.TemporaryDirectory() as folder:
        made = trainer(pack, Path(folder), overrides)
        take = steps(made, name).__next__
        if CARD:
            torch.cuda.reset_peak_memory_stats()
        seconds = per_step(take, arguments.steps, warm_up)
        memory = torch.cuda.max_memory_allocated() / 2**30 if CARD else 0.0
        if arguments.trace and documented and name == "disentangle":
            trace(take, arguments.trace.with_suffix(f".{mode}{arguments.trace.suffix}"))
        plain = trainer(pack, Path(folder), {**overrides, "engine.compile": "false"})
        flops = operations(steps(plain, name).__next__)
        ready = per_step(kept(made, name).__next__, arguments.steps, warm_up)
    size = made.run.recipe.stages[name].batch
    return Found(name, mode, size, documented, seconds, max(1 - ready / seconds, 0), flops / seconds / rate, memory)


def goals(found: list[Found]) -> Iterator[Row]:
    """What was to be reached, by the best way of computing."""
    ladders = {
        mode: sum(DOCUMENTED[item.stage] * item.seconds for item in found if item.documented and item.mode == mode) / 60
        for mode in dict.fromkeys(item.mode for item in found)
    }
    if {item.stage for item in found if item.documented} == set(DOCUMENTED):
        said = ", ".join(f"{minutes:.1f} min ({mode})" for mode, minutes in ladders.items())
        what = f"the documented ladder, {sum(DOCUMENTED.values()):,} steps"
        yield Row(what, said, f"{MINUTES} min", min(ladders.values()) < MINUTES)
    best = max(found, key=lambda item: item.rate)
    figure = f"{best.rate:.1%} ({best.stage}, {best.batch} images, {best.mode})"
    yield Row("of the card's bf16 rate, at a batch that fills it", figure, f"{RATE:.0%}", best.rate >= RATE)
    quickest = min(ladders, key=lambda mode: ladders[mode])
    worst = max((item for item in found if item.mode == quickest), key=lambda item: item.waiting)
    figure = f"{worst.waiting:.1%} ({worst.stage}, {worst.batch} images, {worst.mode})"
    yield Row("waiting for data, at most", figure, f"{WAITING:.0%}", worst.waiting <= WAITING)


def trace(take: Callable[[], Any], path: Path) -> None:
    """Profile ten steps; print what takes longest."""
    activities = [torch.profiler.ProfilerActivity.CPU]
    if CARD:
        activities.append(torch.profiler.ProfilerActivity.CUDA)
    with torch.profiler.profile(activities=activities) as profiler:
        for _ in range(10):
            take()
        done()
    profiler.export_chrome_trace(str(path))
    for order in (*(["self_cuda_time_total"] if CARD else []), "self_cpu_time_total"):
        print(profiler.key_averages().table(sort_by=order, row_limit=15, max_name_column_width=60))


def main() -> int:
    """Measure and print; 1 where a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--compile", nargs="*", default=["false", "reduce-overhead"], help="engine.compile, one after the other."
    )
    parser.add_argument("--stages", nargs="*", default=list(DOCUMENTED), choices=list(DOCUMENTED))
    parser.add_argument("--deterministic", default="true", choices=["true", "false"])
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--batches", type=int, nargs="*", default=[256, 1024], help="Further ones of the first stage.")
    parser.add_argument("--trace", type=Path, help="Write a profiler's trace of ten steps of the first stage here.")
    parser.add_argument("--rehearse", action="store_true", help="Tiny, on whatever there is: to see that it runs.")
    arguments = parser.parse_args()
    if arguments.rehearse:
        arguments.compile, arguments.images, arguments.steps, arguments.batches = ["false"], 4000, REPEATS, [4]
    elif not CARD:
        print("this needs a CUDA device, or --rehearse", file=sys.stderr)
        return 2
    rate = matrix_rate(256 if arguments.rehearse else MATRIX)
    card = torch.cuda.get_device_name() if CARD else "no card"
    print(f"{card}, torch {torch.__version__}; bf16 products: {rate / 1e12:.0f} TFLOP/s\n{HEAD}")
    pack, found = noise_pack(arguments.images, 100), []
    for mode in arguments.compile:
        for name in arguments.stages:
            documented = 2 if arguments.rehearse else None
            for batch in (documented, *(arguments.batches if name == "disentangle" else ())):
                found.append(measured(pack, name, mode, batch, arguments, rate))
                print(found[-1], flush=True)
                gc.collect()
                torch.cuda.empty_cache()
    rows = list(goals(found))
    print(f"\n{table(rows)}")
    return 0 if all(row.holds for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
