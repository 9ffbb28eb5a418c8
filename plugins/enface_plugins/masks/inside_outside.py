"""What the masks of one weight inside and another outside share."""

from __future__ import annotations

from torch import Tensor

from enface import RecipeError, Schedule


def weigh(mask: str, step: int, shape: Tensor, inside: Schedule, outside: Schedule) -> Tensor:
    """outside + (inside - outside) * shape, with both weights as they are at ``step``.

    Args:
        mask: The mask's name, for messages.
        shape: (1, 1, H, W) in [0, 1].

    Raises:
        RecipeError: when a weight is negative, naming the step.
    """
    within, beyond = inside(step), outside(step)
    if min(within, beyond) < 0:
        raise RecipeError(f"{mask}: negative weight at step {step}: inside {within:g}, outside {beyond:g}")
    return beyond + (within - beyond) * shape
