"""Inputs of the golden tests by a closed formula, because the numbers of random generators change with versions."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

Spec = list[Any]
"""Description of an input in the stored files: ``[kind, shape, number]``, or a list of those for a tuple."""
Array = npt.NDArray[Any]


def wave(shape: list[int], phase: float) -> Array:
    """Return values in [-0.9, 0.9], alike for near phases: a slow wave and finer detail.

    They are multiples of 1/256, which float32 represents exactly.
    """
    index = np.arange(math.prod(shape), dtype=np.float64)
    values = 0.6 * np.sin(0.37 * index + 0.3 * phase) + 0.3 * np.sin(0.011 * index**2 + 5 * phase)
    return (np.round(256 * values) / 256).reshape(shape)


def array(spec: Spec) -> Array | tuple[Array, ...]:
    """Build an input.

    ``image``: [-1, 1]. ``unit``: [0, 1]. ``smooth``: [0, 1], low frequencies only. ``map``: features or logits in
    [-2, 2]. ``flow``: pixels in [-2, 2], none of them whole. ``visible``: 0.0 or 1.0, and all 0 in the last of several
    images. ``masks``: positive, sum 1 over the planes. ``weights``: [-0.25, 0.25] (K, D). ``labels``: integers below
    the number. ``flags``: every second is true.
    """
    if isinstance(spec[0], list):
        return tuple(array(item) for item in spec)
    kind, shape, number = spec
    if kind == "labels":
        return (7 * np.arange(math.prod(shape)).reshape(shape) + 3) % number
    if kind == "flags":
        return np.arange(math.prod(shape)).reshape(shape) % 2 == 0
    if kind == "smooth":
        _, channel, down, across = np.indices(shape)
        return 0.5 + 0.4 * np.sin(0.15 * across + 0.1 * down + channel + number)
    values = wave(shape, number)
    if kind == "visible":
        return (values > -0.2) * (np.arange(len(values)) < max(1, len(values) - 1)).reshape(-1, 1, 1, 1).astype(float)
    if kind == "masks":
        return np.exp(3 * values) / np.exp(3 * values).sum(1, keepdims=True)
    return {
        "image": values,
        "unit": (values + 1) / 2,
        "map": 2 * values,
        "flow": 2 * values + 1 / 512,
        "weights": values / 4,
    }[kind]


def indices(size: int, count: int = 6) -> list[int]:
    """Return the positions at which a flattened array is stored: evenly spaced, with the first and the last."""
    return sorted({round(place * (size - 1) / (count - 1)) for place in range(count)})
