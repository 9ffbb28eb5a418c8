"""Memory and throughput of training by batch size."""

from __future__ import annotations

import gc
import os
import resource
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from enface.recipe.load import LoadedRecipe
from enface.system.messages import Reporter
from enface_tools.tune.trial import Trial, start_trial

GIB = 2**30
WARM_UP = 2
"""Steps before those that are timed."""
TOLERANCE = 0.95
"""Share of the best throughput that counts as equally fast."""
CGROUP = Path("/sys/fs/cgroup/memory.max")


@dataclass(frozen=True)
class Measurement:
    """Training with one batch size.

    Attributes:
        speed: Images per second; 0 if the batch does not fit.
        memory: Peak in bytes: allocated on the GPU, or of the whole process on a CPU; expected if it was not tried.
        fits: False if the memory did not suffice, or is not expected to.
    """

    batch: int
    speed: float
    memory: float
    fits: bool = True


def measure_batches(
    loaded: LoadedRecipe, stage: str, reporter: Reporter, *, first: int, largest: int, steps: int, limit: float
) -> Iterator[Measurement]:
    """Measure batch sizes, each twice the one before, until one does not fit; the last may be one that does not.

    Args:
        limit: Bytes that the process may use on a CPU; a batch that is expected to need more is not tried.
    """
    before: Measurement | None = None
    batch = first
    while batch <= largest:
        try:
            trial = start_trial(loaded, stage, reporter, batch=batch, accumulate=1, steps=WARM_UP + steps)
            item = _measure(trial, batch)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            yield Measurement(batch, 0.0, 0.0, fits=False)
            return
        yield item
        on_cpu = trial.trainer.run.engine.device.type == "cpu"
        del trial
        gc.collect()
        expected = expected_memory(before, item)
        if on_cpu and expected > limit:
            yield Measurement(batch * 2, 0.0, expected, fits=False)
            return
        before, batch = item, batch * 2


def expected_memory(before: Measurement | None, item: Measurement) -> float:
    """Return the peak that twice the batch is expected to need: memory is linear in the batch."""
    return item.memory + 2 * (item.memory - before.memory) if before is not None else item.memory


def fastest(items: Sequence[Measurement]) -> Measurement:
    """Return the smallest batch that is about as fast as the fastest one."""
    best = max(item.speed for item in items)
    return next(item for item in items if item.fits and item.speed >= TOLERANCE * best)


def memory_limit() -> float:
    """Return the bytes that this process may use: those of the machine, or of its control group."""
    machine = float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    group = CGROUP.read_text().strip() if CGROUP.is_file() else "max"
    return min(machine, float(group)) if group.isdigit() else machine


def is_out_of_memory(error: BaseException | None) -> bool:
    """Return True if a GPU's memory did not suffice, be it the error itself or its cause."""
    if error is None:
        return False
    return isinstance(error, torch.OutOfMemoryError) or is_out_of_memory(error.__cause__)


def _measure(trial: Trial, batch: int) -> Measurement:
    device = trial.trainer.run.engine.device
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
    ends = []
    for number, parts in enumerate(trial.batches()):
        trial.step(number, parts)
        _wait(device)
        ends.append(time.perf_counter())
    seconds = (ends[-1] - ends[WARM_UP - 1]) / (len(ends) - WARM_UP)
    peak = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else _peak_of_process()
    return Measurement(batch, batch / seconds, float(peak))


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _peak_of_process() -> int:
    # In KiB on Linux; it never falls, and batches grow.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
