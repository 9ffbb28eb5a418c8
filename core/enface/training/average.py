"""The running average of the generator's weights."""

from __future__ import annotations

from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from enface.recipe.models import EmaModel

Tensors = tuple[Tensor, ...] | list[Tensor]


def decay_at(ema: EmaModel, updates: int) -> float:
    """Return the decay of the average after that many updates in the stage; 0 copies the weights."""
    since = updates - ema.start
    if since <= 0:
        return 0.0
    return min(ema.decay, (1 + since) / (10 + since)) if ema.warmup else ema.decay


def new_average(generator: nn.Module, ema: EmaModel | None) -> AveragedModel | None:
    """Return the average of the parameters and buffers of a generator; its ``n_averaged`` counts the updates."""
    if ema is None:
        return None

    def update(averages: Tensors, values: Tensors, count: Tensor | int) -> None:
        # ``count`` is on the device of the weights, where reading it would wait for the step.
        decay = decay_at(ema, int(average.n_averaged))
        get_ema_multi_avg_fn(decay)(averages, values, count)  # type: ignore[no-untyped-call]

    average = AveragedModel(generator, multi_avg_fn=update, use_buffers=True)
    return average.requires_grad_(False)
