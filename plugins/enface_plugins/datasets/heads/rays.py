"""Rays against triangles, by Embree."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from enface_plugins.datasets.heads.model import need

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int32]


@dataclass(frozen=True)
class Hits:
    """First hits of N rays.

    Attributes:
        triangle: (N,) index of the triangle; -1 where nothing was hit.
        distance: (N,) along the ray; meaningless where nothing was hit.
        u: (N,) barycentric weight of the triangle's second corner.
        v: (N,) barycentric weight of its third.
    """

    triangle: Ints
    distance: Floats
    u: Floats
    v: Floats

    @property
    def found(self) -> npt.NDArray[np.bool_]:
        """(N,) whether anything was hit."""
        return self.triangle >= 0

    def interpolate(self, faces: Ints, values: Floats) -> Floats:
        """Values (V, C) of the vertices at the hits: (N, C)."""
        corners = faces[np.maximum(self.triangle, 0)]
        u, v = self.u[:, None], self.v[:, None]
        out: Floats = values[corners[:, 0]] * (1 - u - v) + values[corners[:, 1]] * u + values[corners[:, 2]] * v
        return out


class Scene:
    """Triangles that rays can be shot at.

    Args:
        vertices: (V, 3).
        faces: (F, 3).

    Raises:
        DataError: when embreex is not installed.
    """

    def __init__(self, vertices: Floats, faces: Ints) -> None:
        self._scene = need("embreex.rtcore_scene").EmbreeScene()
        need("embreex.mesh_construction").TriangleMesh(
            self._scene, np.ascontiguousarray(vertices, np.float32), np.ascontiguousarray(faces, np.int32)
        )

    def hit(self, origins: npt.ArrayLike, directions: npt.ArrayLike) -> Hits:
        """First hits of rays from origins (N, 3) along unit directions (N, 3)."""
        out = self._scene.run(_ready(origins), _ready(directions), query="INTERSECT", output=True)
        return Hits(out["primID"], out["tfar"], out["u"], out["v"])

    def blocked(self, origins: npt.ArrayLike, directions: npt.ArrayLike) -> npt.NDArray[np.bool_]:
        """Whether anything lies along each ray: (N,)."""
        out: npt.NDArray[np.bool_] = self._scene.run(_ready(origins), _ready(directions), query="OCCLUDED") != -1
        return out


def _ready(values: npt.ArrayLike) -> Floats:
    return np.ascontiguousarray(values, np.float32)
