"""A number that stays."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from enface import Schedule


class Constant(Schedule):
    """The same value at every step; a plain number in a recipe means this.

    Args:
        value: The value.
    """

    def __init__(self, *, value: float) -> None:
        self.value = value

    @classmethod
    def example(cls, folder: Path) -> Mapping[str, Any]:
        return {"value": 0.5}

    def __call__(self, step: int) -> float:
        return self.value
