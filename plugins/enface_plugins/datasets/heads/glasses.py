"""Glasses: rims, bridge and temples as tubes, fitted to a face."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from enface_plugins.datasets.heads.identity import Glasses
from enface_plugins.datasets.heads.rays import Scene

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int32]

_SIDES = 6
_DROP = -0.25


def glasses_mesh(style: Glasses, scene: Scene, eye_distance: float) -> tuple[Floats, Ints]:
    """The frame's mesh: vertices (W, 3) in centimetres, faces (G, 3).

    Args:
        style: Sizes of the frame.
        scene: The bare head; the frame must clear its brows, cheeks and ears.
        eye_distance: Distance between the eyes in centimetres.
    """
    middle = eye_distance / 2 + 0.12
    turn = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    across, up = _superellipse(turn, style.roundness)
    x, y = middle + style.width * across, _DROP + style.height * up
    depth = _fit(scene, x, y) + 0.15 + style.radius
    rim = np.column_stack([x, y, depth + _wrap(x)])
    tubes = [_tube(rim * (side, 1, 1), style.radius, closed=True) for side in (1, -1)]
    tubes.append(_tube(_bridge(middle - style.width, depth), style.radius, closed=False))
    for side in (1, -1):
        arm = _temple(scene, middle + style.width, depth, side)
        tubes.append(_tube(arm, 0.8 * style.radius, closed=False))
    return _joined(tubes)


def _superellipse(turn: npt.NDArray[np.float64], power: float) -> tuple[npt.NDArray[np.float64], ...]:
    cosine, sine = np.cos(turn), np.sin(turn)
    return tuple(np.sign(part) * np.abs(part) ** (2 / power) for part in (cosine, sine))


def _wrap(x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Backward bend of the frame towards its ends."""
    return -0.022 * np.square(x)


def _fit(scene: Scene, x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]) -> float:
    """Depth at which the rim clears the skin; the nose is straddled instead."""
    clear = np.abs(x) > 1.3
    depth = []
    for side in (1, -1):
        origins = np.column_stack([side * x[clear], y[clear], np.full(clear.sum(), 30.0)])
        hits = scene.hit(origins, np.broadcast_to((0.0, 0.0, -1.0), origins.shape))
        skin = np.where(hits.valid, 30.0 - hits.distance, -5.0)
        depth.append(float((skin - _wrap(x[clear])).max()))
    return max(depth)


def _bridge(inner: float, depth: float) -> npt.NDArray[np.float64]:
    x = np.linspace(-inner, inner, 9)
    return np.column_stack([x, 0.35 + 0.3 * (1 - (x / inner) ** 2), np.full(9, depth)])


def _temple(scene: Scene, outer: float, depth: float, side: int) -> npt.NDArray[np.float64]:
    """Path from the hinge past the temple and back over the ear."""
    z = np.linspace(0.0, -8.0, 9)
    y = np.linspace(0.35, 0.9, 9)
    origins = np.column_stack([np.full(9, side * 30.0), y, z])
    hits = scene.hit(origins, np.broadcast_to((-side * 1.0, 0.0, 0.0), origins.shape))
    width = np.where(hits.valid, 30.0 - hits.distance, 6.5)
    # Pass ears on their inner side.
    width = np.minimum(np.maximum.accumulate(width), np.median(width) + 0.5) + 0.2
    front = np.asarray([[outer, 0.35, depth + _wrap(np.asarray(outer))]])
    arm = np.concatenate([front, [[max(width[0], outer + 0.3), 0.35, front[0, 2] - 0.5]]])
    return np.concatenate([arm, np.column_stack([np.maximum(width, outer), y, z])[1:]]) * (side, 1, 1)


def _tube(path: npt.NDArray[np.float64], radius: float, *, closed: bool) -> tuple[Floats, Ints]:
    """A tube around a path (K, 3)."""
    ahead, behind = np.roll(path, -1, axis=0), np.roll(path, 1, axis=0)
    if not closed:
        ahead[-1], behind[0] = path[-1], path[0]
    along = ahead - behind
    along /= np.linalg.norm(along, axis=1, keepdims=True)
    first = np.cross(along, (0.35, 0.25, 0.9))
    first /= np.linalg.norm(first, axis=1, keepdims=True)
    second = np.cross(along, first)
    turn = np.linspace(0, 2 * np.pi, _SIDES, endpoint=False)[:, None, None]
    ring = path + radius * (np.cos(turn) * first + np.sin(turn) * second)
    number = np.arange(_SIDES * len(path)).reshape(_SIDES, len(path))
    beside, onward = np.roll(number, -1, axis=0), np.roll(number, -1, axis=1)
    quads = np.stack([number, beside, np.roll(beside, -1, axis=1), onward], axis=-1)
    quads = quads if closed else quads[:, :-1]
    quads = quads.reshape(-1, 4)
    faces = np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])
    return ring.reshape(-1, 3).astype(np.float32), faces.astype(np.int32)


def _joined(parts: list[tuple[Floats, Ints]]) -> tuple[Floats, Ints]:
    starts = np.cumsum([0] + [len(vertices) for vertices, _ in parts])
    faces = [part + start for (_, part), start in zip(parts, starts[:-1], strict=True)]
    return np.concatenate([vertices for vertices, _ in parts]), np.concatenate(faces).astype(np.int32)
