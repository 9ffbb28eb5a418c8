"""Rendering of a head, from a pose and a light to pixels.

The samples of a camera are computed once per pose (:func:`camera_view`); each light then adds shadows and shading
(:func:`shade`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from enface_plugins.datasets.heads import lights
from enface_plugins.datasets.heads.identity import Identity
from enface_plugins.datasets.heads.mesh import Mesh
from enface_plugins.datasets.heads.model import HAIR, Floats
from enface_plugins.datasets.heads.paint import REGION_NAMES, Paint, paint

SUPERSAMPLING = 2
_DISTANCE = 130.0
_AXIS_Z = -5.0
_MIDDLE_Y = 0.2
_HALF = 13.9
_BACKGROUND = np.float32(0.22)
_ROOM, _ROOM_ALONE, _FLASH = 0.2, 0.62, 1.0
# Light scatters in skin, red the furthest, so the terminator is soft and warm.
_WRAP = np.asarray((0.28, 0.12, 0.08), np.float32)
# A flash has an area: the samples of a pixel use different points of it.
_FLASH_SIZE = 0.035


@dataclass(frozen=True)
class View:
    """The samples of one camera that hit the head; N of them.

    Attributes:
        size: Height and width of the image in pixels.
        pixel: (N,) index of each sample in the supersampled image, rows of ``2 * size``.
        corner: (N,) index of the sample within its pixel, 0 to 3.
        position: (N, 3) centimetres, just above the surface.
        towards: (N, 3) unit vectors to the camera.
        openness: (N,) visible share of the sky.
        paint: Surface properties.
    """

    size: int
    pixel: npt.NDArray[np.intp]
    corner: npt.NDArray[np.intp]
    position: Floats
    towards: Floats
    openness: Floats
    paint: Paint


def camera_view(person: Identity, mesh: Mesh, pose: int, size: int) -> View:
    """Compute the samples of a camera that hit a head.

    Args:
        person: Owner of the head.
        mesh: The head.
        pose: Yaw of the camera around the head's vertical axis in degrees; positive: towards the person's left, so
            that the nose points to the left of the image.
        size: Height and width of the image in pixels.
    """
    origin, directions = camera_rays(pose, size * SUPERSAMPLING)
    hits = mesh.scene.hit(np.broadcast_to(origin, directions.shape), directions)
    pixel = np.flatnonzero(hits.valid)
    values = hits.interpolate(mesh.faces, mesh.attributes)[pixel]
    towards = -directions[pixel]
    normal = _facing(values[:, 3:6], towards)
    material = mesh.material[hits.triangle[pixel]]
    colours = paint(person, material, values[:, 6:9], normal)
    # Shadow rays start above the surface, because its facets would shade each other; those of hair are the largest.
    position = values[:, :3] + np.where(material == HAIR, 0.15, 0.06)[:, None].astype(np.float32) * normal
    row, column = np.divmod(pixel, size * SUPERSAMPLING)
    corner = row % 2 * 2 + column % 2
    return View(size, pixel, corner, position, towards, values[:, 9], colours)


def shade(mesh: Mesh, view: View, light: int) -> npt.NDArray[np.uint8]:
    """Render the image under a light: uint8 (size, size, 3), sRGB."""
    albedo, normal = view.paint.albedo, view.paint.normal
    towards = lights.direction(light)
    room = _ROOM_ALONE if towards is None else _ROOM
    colour = albedo * (room * (0.75 + 0.25 * normal[:, 1]) * view.openness)[:, None]
    if towards is not None:
        facing = normal @ towards
        reached = np.flatnonzero(facing > -_WRAP[0])
        rays = _spread(towards)[view.corner[reached]]
        open_way = ~mesh.scene.blocked(view.position[reached], rays)
        lit, facing = reached[open_way], facing[reached[open_way]]
        flash = albedo[lit] * np.maximum((facing[:, None] + _WRAP) * (_FLASH / (1 + _WRAP)), 0)
        flash += (_highlight(view, lit, towards) * (facing > 0))[:, None]
        colour[lit] += flash
    image = np.full((view.size * view.size * SUPERSAMPLING**2, 3), _BACKGROUND, np.float32)
    image[view.pixel] = colour
    return _encode(_shrink(image, view.size))


def regions(view: View) -> npt.NDArray[np.uint8]:
    """Region of most samples of each pixel, uint8 (size, size); ties go to the thinner region, the later one."""
    samples = np.zeros(view.size * view.size * SUPERSAMPLING**2, np.uint8)
    samples[view.pixel] = view.paint.region
    count = np.stack(
        [
            _shrink((samples == index).astype(np.float32)[:, None], view.size)[..., 0] + 1e-3 * index
            for index in range(len(REGION_NAMES))
        ]
    )
    return np.asarray(count.argmax(axis=0), np.uint8)


def camera_rays(pose: int, samples: int) -> tuple[Floats, Floats]:
    """Origin (3,) and unit directions (samples * samples, 3), row by row from the top left."""
    back, right = _axes(pose)
    grid = ((np.arange(samples) + 0.5) / samples * 2 - 1) * _HALF
    across, down = np.meshgrid(grid, grid)
    directions = across[..., None] * right - down[..., None] * np.asarray([0, 1, 0]) - _DISTANCE * back
    directions = directions.reshape(-1, 3)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    origin = np.asarray([0, _MIDDLE_Y, _AXIS_Z]) + _DISTANCE * back
    return origin.astype(np.float32), directions.astype(np.float32)


def project(points: npt.ArrayLike, pose: int, size: int) -> npt.NDArray[np.float64]:
    """Places of points (N, 3) in a camera's image: (N, 2), right and down in pixels; the first pixel's centre is 0."""
    back, right = _axes(pose)
    offset = np.asarray(points, np.float64) - (0, _MIDDLE_Y, _AXIS_Z)
    plane = np.stack([offset @ right, -offset[:, 1]], axis=1) * (_DISTANCE / (_DISTANCE - offset @ back))[:, None]
    return np.asarray((plane / _HALF + 1) / 2 * size - 0.5)


def _axes(pose: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Unit vectors from the head to the camera, and to the right of its image."""
    turn = np.radians(pose)
    return np.asarray([np.sin(turn), 0, np.cos(turn)]), np.asarray([np.cos(turn), 0, -np.sin(turn)])


def _facing(normal: Floats, towards: Floats) -> Floats:
    """Unit normals that face the camera."""
    length = np.linalg.norm(normal, axis=1, keepdims=True)
    side = np.where((normal * towards).sum(axis=1, keepdims=True) < -0.15, -1, 1)
    return np.asarray(normal * side / np.maximum(length, 1e-6), np.float32)


def _spread(towards: Floats) -> Floats:
    """Directions to the four corners of a flash, (4, 3)."""
    side = np.cross(towards, (0.0, 1.0, 0.0))
    side /= np.linalg.norm(side)
    up = np.cross(side, towards)
    corners = [(row, column) for row in (-1, 1) for column in (-1, 1)]
    # Rotated slightly against the pixel grid, so that no shadow edge crosses all corners together.
    rays = np.stack(
        [towards + _FLASH_SIZE * (r * (0.9 * up + 0.3 * side) + c * (0.9 * side - 0.3 * up)) for r, c in corners]
    )
    return np.asarray(rays / np.linalg.norm(rays, axis=1, keepdims=True), np.float32)


def _highlight(view: View, lit: npt.NDArray[np.intp], towards: Floats) -> Floats:
    """Blinn-Phong highlight of the samples ``lit``."""
    half = view.towards[lit] + towards
    aligned = np.einsum("nc,nc->n", half, view.paint.normal[lit])
    aligned = np.maximum(aligned / np.sqrt(np.einsum("nc,nc->n", half, half)), 1e-4)
    sharpness = view.paint.sharpness[lit]
    return np.asarray(view.paint.gloss[lit] * aligned**sharpness, np.float32)


def _shrink(image: Floats, size: int) -> Floats:
    """Average the samples of each pixel: (size * size * 4, C) -> (size, size, C)."""
    samples = image.reshape(size, SUPERSAMPLING, size, SUPERSAMPLING, -1)
    # Adding four slices is many times faster than a mean over two axes.
    total: Floats = samples[:, 0, :, 0] + samples[:, 0, :, 1] + samples[:, 1, :, 0] + samples[:, 1, :, 1]
    return total / np.float32(SUPERSAMPLING**2)


@lru_cache(maxsize=1)
def _curve() -> npt.NDArray[np.uint8]:
    """sRGB of linear light in [0, 2), in 4,096 steps; a shoulder above 0.6 avoids clipped highlights."""
    light = (np.arange(4096) + 0.5) / 2048
    light = np.where(light < 0.6, light, 0.6 + 0.4 * np.tanh((light - 0.6) / 0.4))
    srgb = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    return np.asarray(np.rint(srgb * 255), np.uint8)


def _encode(image: Floats) -> npt.NDArray[np.uint8]:
    return _curve()[np.minimum(image * 2048, 4095).astype(np.int32)]
