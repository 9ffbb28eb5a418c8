"""Time and memory of a training step, measured on a few steps that change nothing."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from enface.errors import NonFiniteLossError
from enface.training.step import Step

STEPS = 3
"""Measured steps, after one that is not."""
PATIENCE = 5.0
"""Seconds after which no further step is measured."""


@dataclass(frozen=True)
class StepTime:
    """Cost of a training step, without ``torch.compile``.

    Attributes:
        device: ``cpu`` or ``cuda``.
        seconds: Mean time of a step.
        peak_memory: Largest memory of a CUDA device, in bytes; None on a CPU.
    """

    device: str
    seconds: float
    peak_memory: int | None


def time_step(step: Step, part: Callable[[], dict[str, Tensor]], parts: int) -> StepTime | None:
    """Measure the first steps of a stage and restore the generator; None if a loss is not finite after a step.

    Critics, optimizers and states of losses are not restored: they belong to ``step``.

    Args:
        part: Returns the columns of a part of the batch.
        parts: Number of parts.
    """
    device = step.engine.device
    kept = {name: value.clone() for name, value in step.generator.module.state_dict().items()}
    times: list[float] = []
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    try:
        with torch.compiler.set_stance("force_eager"):
            for number in range(1 + STEPS):
                times.append(_timed(partial(step, number, [part] * parts), device))
                if sum(times) > PATIENCE and len(times) > 1:
                    break
    except NonFiniteLossError:
        return None
    finally:
        step.generator.module.load_state_dict(kept)
    peak = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None
    return StepTime(device.type, sum(times[1:]) / len(times[1:]), peak)


def _timed(run: Callable[[], object], device: torch.device) -> float:
    started = time.perf_counter()
    run()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - started
