"""Places of one view of a head in another: the flow that moves the other view's pixels, and their visibility."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from enface_plugins.datasets.heads.mesh import Mesh
from enface_plugins.datasets.heads.model import Floats
from enface_plugins.datasets.heads.render import camera_rays, project

_TOLERANCE = 0.02
"""Centimetres by which a ray may end before a point that it sees; the shells of hair and skin are further apart."""


@dataclass(frozen=True)
class Surface:
    """Points of a head at the pixel centres of one camera; N of them.

    Attributes:
        size: Height and width of the image in pixels.
        pixel: (N,) index of each point's pixel, row by row.
        position: (N, 3) centimetres.
        normal: (N, 3) normals of the triangles, on the camera's side; not of length 1.
    """

    size: int
    pixel: npt.NDArray[np.intp]
    position: npt.NDArray[np.float64]
    normal: Floats


def surface(mesh: Mesh, pose: int, size: int) -> Surface:
    """Return the points of a head that a camera sees at its pixel centres.

    Args:
        mesh: The head.
        pose: Yaw of the camera in degrees, as for :func:`~enface_plugins.datasets.heads.render.camera_view`.
        size: Height and width of the image in pixels.
    """
    origin, directions = camera_rays(pose, size)
    hits = mesh.scene.hit(np.broadcast_to(origin, directions.shape), directions)
    pixel = np.flatnonzero(hits.valid)
    position = origin + hits.distance[pixel, None].astype(np.float64) * directions[pixel]
    corners = mesh.attributes[mesh.faces[hits.triangle[pixel]], :3]
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    facing = -np.sign(np.einsum("nc,nc->n", normal, directions[pixel]))
    return Surface(size, pixel, position, normal * facing[:, None])


def correspondence(
    mesh: Mesh, target: Surface, source_pose: int
) -> tuple[npt.NDArray[np.float16], npt.NDArray[np.bool_]]:
    """Return the way from each pixel of the target to the same point of the head in the source.

    Args:
        mesh: The head.
        target: Its points in the target.
        source_pose: Yaw of the source's camera in degrees.

    Returns:
        Flow (2, size, size), right and down in pixels; of hidden points, too, and 0 at the target's background.
        Visibility (size, size): True if the source shows the point; False if it is hidden or outside the image.
    """
    size = target.size
    place = project(target.position, source_pose, size)
    inside = ((place >= -0.5) & (place <= size - 0.5)).all(axis=1)
    row, column = np.divmod(target.pixel, size)
    flow = np.zeros((2, size * size), np.float16)
    flow[:, target.pixel] = place.T - (column, row)
    visible = np.zeros(size * size, np.bool_)
    visible[target.pixel] = inside & _seen(mesh, target, source_pose)
    return flow.reshape(2, size, size), visible.reshape(size, size)


def _seen(mesh: Mesh, points: Surface, pose: int) -> npt.NDArray[np.bool_]:
    """True for points that a camera sees, from the same side as the camera of ``points``."""
    origin = camera_rays(pose, 1)[0].astype(np.float64)
    way = points.position - origin
    distance = np.linalg.norm(way, axis=1)
    hits = mesh.scene.hit(np.broadcast_to(origin, way.shape), way / distance[:, None])
    # A ray past the edge of a triangle may miss its own point, because nothing is there to stop it.
    reached = ~hits.valid | (hits.distance > distance - _TOLERANCE)
    # Hair is a single sheet: its inner side is not the point that the other camera sees.
    return np.asarray(reached & (np.einsum("nc,nc->n", points.normal, way) < 0))
