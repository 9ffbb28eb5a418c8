"""Fast, smooth, deterministic noise, and the curves that soft masks are built from."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]

_WAVES = np.asarray(
    [(1.0, 0.7, -0.4), (-0.6, 1.1, 0.5), (0.3, -0.5, 1.2), (1.3, 0.4, 0.8), (-0.9, -0.8, 1.0)], np.float32
)


def smooth(points: Floats, frequency: float, phase: float) -> Floats:
    """Smooth noise in about [-1, 1] at points (N, 3): crossed waves, each bent by the previous one."""
    total = np.zeros(len(points), np.float32)
    bend = np.zeros(len(points), np.float32)
    for number, wave in enumerate(_WAVES):
        bend = np.sin(points @ (wave * np.float32(frequency)) + np.float32(phase * (number + 1)) + 1.3 * bend)
        total += bend
    return total / np.float32(2.6)


def step(low: float, high: float, value: Floats) -> Floats:
    """Smoothstep: 0 below ``low``, 1 above ``high``."""
    t = np.clip((value - np.float32(low)) / np.float32(high - low), 0, 1)
    return np.asarray(t * t * (3 - 2 * t), np.float32)


def bump(value: Floats, width: float) -> Floats:
    """A Gaussian bump around 0."""
    return np.asarray(np.exp(-((value / np.float32(width)) ** 2)), np.float32)
