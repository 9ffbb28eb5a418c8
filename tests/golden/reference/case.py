"""A golden case: a component, its parameters and inputs, and the published formula that gives its numbers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

SMOOTH, KINKED = 1e-3, 1e-5
"""Steps of central differences. A modulus needs a small one, so that no entry of the input crosses a kink."""


@dataclass
class Case:
    """One entry of a stored file.

    Attributes:
        function: The formula: inputs by name -> a map (N, C, H, W), numbers (N,), or one number.
        wrt: Inputs with respect to which the gradient is stored.
        network: True if the function takes and returns torch tensors.
        held: Inputs that a part of the formula sees without its gradient: name of the function's argument -> input.
        extra: Further keys of the entry.
    """

    file: str
    name: str
    component: str
    function: Callable[..., Any]
    inputs: dict[str, Any]
    source: str
    side: str = "forward"
    wrt: tuple[str, ...] = ("output",)
    params: dict[str, Any] = field(default_factory=dict)
    size: int = 16
    step: float = SMOOTH
    network: bool = False
    held: dict[str, str] = field(default_factory=dict)
    extra: dict[str, Any] = field(default_factory=dict)
    checked: str = ""

    def differentiated(self, inputs):
        """Return the function whose gradient counts."""
        return partial(self.function, **{argument: inputs[name] for argument, name in self.held.items()})


def image(phase: float, *shape: int) -> list[Any]:
    return ["image", list(shape or (2, 3, 13, 11)), phase]


def pair(*shape: int) -> dict[str, Any]:
    return {"output": image(1, *shape), "target": image(2, *shape)}


def exponents(scales: int) -> Any:
    """The paper's exponents of the first scales, rescaled to the sum of all five."""
    five = np.array([0.0448, 0.2856, 0.3001, 0.2363, 0.1333])
    return five[:scales] / five[:scales].sum() * five.sum()


def features(phase: float) -> list[Any]:
    """Two layers."""
    return [["map", [2, 4, 5, 3], phase], ["map", [2, 6, 2, 2], phase + 0.5]]


def logits(phase: float) -> list[Any]:
    return ["map", [2, 1, 3, 2], phase]


RECOGNISER, SIDE = ["weights", [5, 75], 3], 5
"""Weights of the golden recogniser, tanh(weights . image), and the side of the images that it takes."""
