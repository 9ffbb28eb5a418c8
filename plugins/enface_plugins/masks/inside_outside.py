"""Weights of masks that have one value inside a shape and another outside."""

from __future__ import annotations

from torch import Tensor

from enface import RecipeError, Schedule


def inside_outside(mask: str, step: int, shape: Tensor, inside: Schedule, outside: Schedule) -> Tensor:
    """outside + (inside - outside) * shape, with both weights evaluated at ``step``.

    Args:
        mask: Name of the mask, for error messages.
        shape: (1, 1, H, W) in [0, 1].

    Raises:
        RecipeError: when a weight is negative, naming the step.
    """
    inner, outer = inside(step), outside(step)
    if min(inner, outer) < 0:
        raise RecipeError(f"{mask}: negative weight at step {step}: inside {inner:g}, outside {outer:g}")
    return outer + (inner - outer) * shape
