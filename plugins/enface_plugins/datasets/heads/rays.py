"""Rays against triangles, by Embree."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from enface_plugins.datasets.heads.model import require

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int32]


@dataclass(frozen=True)
class Hits:
    """First hits of N rays.

    Attributes:
        triangle: (N,) index of the triangle; -1 for rays that miss.
        distance: (N,) along the ray; undefined for rays that miss.
        u: (N,) barycentric weight of the triangle's second corner.
        v: (N,) barycentric weight of its third.
    """

    triangle: Ints
    distance: Floats
    u: Floats
    v: Floats

    @property
    def valid(self) -> npt.NDArray[np.bool_]:
        """(N,) true for rays that hit."""
        return self.triangle >= 0

    def interpolate(self, faces: Ints, values: Floats) -> Floats:
        """Interpolate vertex values (V, C) at the hits: (N, C)."""
        corners = faces[np.maximum(self.triangle, 0)]
        u, v = self.u[:, None], self.v[:, None]
        out: Floats = values[corners[:, 0]] * (1 - u - v) + values[corners[:, 1]] * u + values[corners[:, 2]] * v
        return out


class Scene:
    """Triangles for ray casting.

    Args:
        vertices: (V, 3).
        faces: (F, 3).

    Raises:
        DataError: when embreex is not installed.
    """

    def __init__(self, vertices: Floats, faces: Ints) -> None:
        self._scene = require("embreex.rtcore_scene").EmbreeScene()
        require("embreex.mesh_construction").TriangleMesh(
            self._scene, np.ascontiguousarray(vertices, np.float32), np.ascontiguousarray(faces, np.int32)
        )

    def hit(self, origins: npt.ArrayLike, directions: npt.ArrayLike) -> Hits:
        """First hits of rays from origins (N, 3) along unit directions (N, 3)."""
        out = self._scene.run(_as_float32(origins), _as_float32(directions), query="INTERSECT", output=True)
        return Hits(out["primID"], out["tfar"], out["u"], out["v"])

    def blocked(self, origins: npt.ArrayLike, directions: npt.ArrayLike) -> npt.NDArray[np.bool_]:
        """True for rays that hit anything: (N,)."""
        out: npt.NDArray[np.bool_] = (
            self._scene.run(_as_float32(origins), _as_float32(directions), query="OCCLUDED") != -1
        )
        return out


def _as_float32(values: npt.ArrayLike) -> Floats:
    return np.ascontiguousarray(values, np.float32)
