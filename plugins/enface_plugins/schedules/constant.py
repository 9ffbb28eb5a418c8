"""A number that stays."""

from __future__ import annotations

from enface import Schedule


class Constant(Schedule):
    """The same value at every step; a plain number in a recipe means this.

    Args:
        value: The value.
    """

    def __init__(self, *, value: float) -> None:
        self.value = value

    def __call__(self, step: int) -> float:
        return self.value
