"""A validator whose values a test chooses."""

from __future__ import annotations

from enface.plugin.hooks import Validation


class Scripted:
    """A validator of the error ``mae`` that returns one value after the other."""

    measured = ("mae",)

    def __init__(self, values):
        self._values = iter(values)

    def validate(self, network):
        value = next(self._values)
        return {"mae": Validation(value, -value)}
