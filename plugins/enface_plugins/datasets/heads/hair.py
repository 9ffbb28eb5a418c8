"""Hair as a shell around the scalp, with volume, shadows and a hairline."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from enface_plugins.datasets.heads import noise
from enface_plugins.datasets.heads.identity import Hair
from enface_plugins.datasets.heads.model import require
from enface_plugins.datasets.heads.rays import Scene

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int32]

_COLUMNS, _CAP_ROWS, _SIDE_ROWS = 160, 36, 64
_AXIS_Y, _AXIS_Z, _LOWEST = 2.0, -7.0, -17.0


def hair_shell(
    style: Hair, scene: Scene, canonical: Floats, faces: Ints, ears: Floats, phase: float
) -> tuple[Floats, Ints]:
    """The hair's mesh.

    Args:
        style: The hair style.
        scene: The bare head; rays against it locate the scalp.
        canonical: (V, 3) positions of the head's vertices on the mean head, in which the hairline is placed.
        faces: (F, 3) vertex indices of the head.
        ears: (V,) in [0, 1], degree to which a vertex belongs to an ear; hair passes behind ears.
        phase: The person's phase of the noise.

    Returns:
        Vertices (W, 3) in centimetres and faces (G, 3) into them; faces may be empty.
    """
    origins, outward = _rays()
    far = origins + 40 * outward
    hits = scene.hit(far.reshape(-1, 3), -outward.reshape(-1, 3))
    shape = origins.shape[:2]
    radius = (40 - hits.distance).reshape(shape)
    mean = hits.interpolate(faces, np.column_stack([canonical, ears])).reshape(*shape, 4)
    unknown = ~hits.valid.reshape(shape) | ((mean[..., 3] > 0.25) & (not style.long))
    values = _fill(np.dstack([radius, mean[..., :3]]), unknown)
    radius, mean = _smooth(values[..., 0], 1.0), values[..., 1:]
    inside = _inside_hairline(style, mean, phase)
    if style.long:
        # Wide enough to cover the ears; the edges curl in to the skin.
        wide = _fall(_smooth(require("scipy.ndimage").maximum_filter(radius, (5, 7), mode=("nearest", "wrap")), 2.5))
        radius = radius + (wide - radius) * noise.step(-0.2, 1.4, inside)
    thickness = _thickness(style, mean, inside, phase)
    vertices = origins + (radius + thickness)[..., None] * outward
    return vertices.reshape(-1, 3).astype(np.float32), _faces(inside > -0.5)


def _rays() -> tuple[Floats, Floats]:
    """Rays in rows from the crown down and columns around: from one centre over the cap, horizontal below it."""
    around = np.linspace(0, 2 * np.pi, _COLUMNS, endpoint=False)
    tilt = np.concatenate([np.linspace(np.pi / 2, 0, _CAP_ROWS), np.zeros(_SIDE_ROWS)])
    height = np.concatenate([np.full(_CAP_ROWS, _AXIS_Y), np.linspace(_AXIS_Y, _LOWEST, _SIDE_ROWS + 1)[1:]])
    tilt, around = np.meshgrid(tilt, around, indexing="ij")
    outward = np.stack([np.sin(around) * np.cos(tilt), np.sin(tilt), np.cos(around) * np.cos(tilt)], axis=-1)
    origins = np.zeros_like(outward)
    origins[..., 1], origins[..., 2] = height[:, None], _AXIS_Z
    return origins.astype(np.float32), outward.astype(np.float32)


def _fill(values: Floats, unknown: npt.NDArray[np.bool_]) -> Floats:
    """Interpolate unknown values, such as behind ears, along their row, or copy the row above."""
    places = np.arange(_COLUMNS)
    for row in range(len(values)):
        known = ~unknown[row]
        if known.sum() < 8:
            values[row] = values[row - 1]
            continue
        for channel in range(values.shape[2]):
            values[row, :, channel] = np.interp(places, places[known], values[row, known, channel], period=_COLUMNS)
    return values


def _smooth(values: Floats, sigma: float) -> Floats:
    out: Floats = require("scipy.ndimage").gaussian_filter(values, (sigma, sigma), mode=("nearest", "wrap"))
    return out


def _inside_hairline(style: Hair, mean: Floats, phase: float) -> Floats:
    """Signed distance to the hairline in centimetres, positive under hair."""
    x, y, z = np.moveaxis(mean, -1, 0)
    azimuth = np.degrees(np.arctan2(np.abs(x), z - _AXIS_Z))
    front, temple = style.front, style.temple
    if style.long:
        line = {0: front + style.sweep, 14: front + 0.7 * style.sweep, 30: front - 0.4, 44: front - 2.2 - style.sweep}
        line |= {56: 2.4 - style.sweep, 66: -2.0, 74: -20, 180: -20}
    else:
        line = {
            0: front - style.peak,
            18: front + 0.2 * temple,
            36: front - 0.3 + temple,
            50: front - 1.6 + 0.6 * temple,
        }
        line |= {60: 3.2, 68: 0.6, 73: -1.8, 83: -2.2, 87: 1.2, 95: 1.9, 106: 1.8, 113: 0.5, 118: -3.5}
        line |= {130: style.nape + 1, 150: style.nape, 180: style.nape}
    distance = _signed_distance(line, azimuth, y)
    if style.crown:
        # Bare from the top down, less towards the back of the head.
        distance = np.minimum(distance, 8.0 - 4.0 * style.crown - y + 0.25 * np.maximum(-9 - z, 0))
    if style.long:
        distance = np.minimum(distance, y - style.nape)
    wobble = noise.smooth(mean.reshape(-1, 3).astype(np.float32), 2.2, phase).reshape(distance.shape)
    return np.asarray(distance + 0.15 * wobble, np.float32)


def _signed_distance(line: dict[int, float], azimuth: Floats, y: Floats) -> Floats:
    """Signed distance to a line of heights by degrees around the head, on a scalp unrolled at 8 cm radius."""
    degrees = np.arange(0, 180.5, 0.5)
    heights = np.interp(degrees, list(line), list(line.values()))
    heights = require("scipy.ndimage").gaussian_filter1d(heights, 3, mode="nearest")
    along = np.radians(degrees) * 8
    length = np.concatenate([[0], np.cumsum(np.hypot(np.diff(along), np.diff(heights)))])
    even = np.linspace(0, length[-1], int(length[-1] / 0.1))
    curve = np.column_stack([np.interp(even, length, along), np.interp(even, length, heights)])
    places = np.column_stack([np.radians(azimuth).ravel() * 8, y.ravel()])
    distance = require("scipy.spatial").cKDTree(curve).query(places)[0].reshape(y.shape)
    return np.asarray(np.where(y > np.interp(azimuth, degrees, heights), distance, -distance), np.float32)


def _thickness(style: Hair, mean: Floats, inside: Floats, phase: float) -> Floats:
    x, y, z = np.moveaxis(mean, -1, 0)
    full = style.sides + (style.volume - style.sides) * noise.step(1.0, 8.0, y)
    rise = noise.step(0.0, 1.0 + 0.8 * style.volume, inside) ** 0.8
    azimuth = np.arctan2(x, z - _AXIS_Z)
    locks = np.sin(22 * azimuth + 2.5 * np.sin(0.35 * y + phase) + phase)
    curls = noise.smooth(mean.reshape(-1, 3), 1.0 + 1.6 * style.curl, phase + 3).reshape(x.shape)
    locks = (1 - style.curl) * locks + (1 + 0.8 * style.curl) * curls
    part = noise.bump(x - 3.0 * style.parting, 0.4) * noise.step(-12, -6, z) * noise.step(5, 8, y)
    thickness = full * rise * (1 - 0.3 * part) + 0.09 * rise * style.wave * locks
    # Outside the hairline the shell is below the skin, so that the surfaces meet in a line.
    return np.asarray(np.where(inside > 0, thickness + 0.03, np.maximum(0.6 * inside, -0.3)), np.float32)


def _fall(radius: Floats) -> Floats:
    """Radius of hanging hair: below the ears it keeps its width, tapering slightly."""
    out = radius.copy()
    for row in range(_CAP_ROWS, len(out)):
        out[row] = np.maximum(radius[row], out[row - 1] * 0.994)
    return _smooth(out, 1.5)


def _faces(kept: npt.NDArray[np.bool_]) -> Ints:
    rows, columns = kept.shape
    number = np.arange(rows * columns, dtype=np.int32).reshape(rows, columns)
    right = np.roll(number, -1, axis=1)
    quads = np.stack([number[:-1], number[1:], right[1:], right[:-1]], axis=-1).reshape(-1, 4)
    quads = quads[kept.reshape(-1)[quads].any(axis=1)]
    return np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])
