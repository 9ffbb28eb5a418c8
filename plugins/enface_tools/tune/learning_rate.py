"""The learning-rate range test.

Smith, "Cyclical learning rates for training neural networks", WACV 2017, section 3.3, with an exponential sweep and the
steepest descent of the smoothed loss, as is usual in fastai and Lightning.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from enface.errors import NonFiniteLossError
from enface.plugin.components import Schedule
from enface_tools.tune.trial import Trial, objective

SMOOTHING = 0.9
DIVERGED = 4.0
"""A smoothed loss this many times its minimum ends the sweep."""
SKIPPED = 0.1
"""Share of the sweep before the first suggestion, in which the average still depends on its first values."""


class Sweep(Schedule):
    """An exponential sweep: low * (high / low) ^ (step / (steps - 1))."""

    def __init__(self, low: float, high: float, steps: int) -> None:
        self.rates = np.geomspace(low, high, steps)

    def __call__(self, step: int) -> float:
        return float(self.rates[min(step, len(self.rates) - 1)])


@dataclass(frozen=True)
class RangeTest:
    """A finished sweep.

    Attributes:
        rates: Learning rate of each step.
        losses: The generator's objective before the step.
        diverged: The loss became too large or not finite before the sweep ended.
    """

    rates: npt.NDArray[np.float64]
    losses: npt.NDArray[np.float64]
    diverged: bool

    @property
    def smoothed(self) -> npt.NDArray[np.float64]:
        """Exponential moving average of the losses, without the bias of its start."""
        return smooth(self.losses)

    @property
    def suggestion(self) -> float | None:
        """The rate at which the smoothed loss falls most steeply over log rate; None if it does not fall."""
        values = self.smoothed
        last = int(np.argmin(values)) + 1
        first = min(int(SKIPPED * len(values)), last)
        if last - first < 2:
            return None
        slopes = np.gradient(values, np.log(self.rates))[first:last]
        best = int(np.argmin(slopes))
        return float(self.rates[first + best]) if slopes[best] < 0 else None


def smooth(values: Sequence[float] | npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the exponential moving average of a sequence, divided by the weight of its values."""
    averages, mean = [], 0.0
    for number, value in enumerate(values, start=1):
        mean = SMOOTHING * mean + (1 - SMOOTHING) * value
        averages.append(mean / (1 - SMOOTHING**number))
    return np.array(averages)


def range_test(
    trial: Trial, low: float, high: float, steps: int, progress: Callable[[int, int], None] | None = None
) -> RangeTest:
    """Train with learning rates from ``low`` to ``high`` until the loss diverges."""
    sweep = trial.step.generator.lr = Sweep(low, high, steps)
    losses: list[float] = []
    diverged = False
    for number, parts in enumerate(trial.batches()):
        try:
            losses.append(objective(trial.step(number, parts)))
        except NonFiniteLossError:
            diverged = True
            break
        smoothed = smooth(losses)
        if smoothed[-1] > DIVERGED * smoothed.min() > 0:
            diverged = True
            break
        if progress is not None:
            progress(number + 1, steps)
    return RangeTest(sweep.rates[: len(losses)], np.array(losses), diverged)


def save_plot(test: RangeTest, path: Path, title: str) -> None:
    """Draw the loss over the learning rate, with the suggestion; the format is that of the file's suffix."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4), layout="constrained")
    axes = figure.subplots()
    axes.plot(test.rates, test.losses, color="0.75", linewidth=1, label="loss")
    axes.plot(test.rates, test.smoothed, color="C0", linewidth=2, label="smoothed")
    if test.suggestion is not None:
        axes.axvline(test.suggestion, color="C3", linestyle="--", label=f"steepest descent, {test.suggestion:.1e}")
    axes.set(xscale="log", xlabel="learning rate", ylabel="objective of the generator", title=title)
    axes.legend()
    figure.savefig(path, dpi=120)
