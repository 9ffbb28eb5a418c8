"""A person's head as triangles: skin, eyes, hair and glasses, with the vertex attributes that shading needs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from enface_plugins.datasets.heads.glasses import glasses_mesh
from enface_plugins.datasets.heads.hair import hair_shell
from enface_plugins.datasets.heads.identity import Identity
from enface_plugins.datasets.heads.model import (
    GLASSES,
    HAIR,
    SKIN,
    Floats,
    Ints,
    Template,
    head_vertices,
    template,
)
from enface_plugins.datasets.heads.paint import beard_density
from enface_plugins.datasets.heads.rays import Scene

_SKY = 40
_NECK_DROP = 9.0


@dataclass(frozen=True)
class Mesh:
    """A head.

    Attributes:
        faces: (F, 3) vertex indices.
        material: (F,) material of each triangle.
        attributes: (V, 10) position, normal, position on the mean head, and openness to the sky in [0, 1].
        scene: The same triangles for ray casting.
    """

    faces: Ints
    material: npt.NDArray[np.uint8]
    attributes: Floats
    scene: Scene


def build_mesh(person: Identity) -> Mesh:
    """Build the head of a person.

    Raises:
        DataError: when anny or embreex is not installed.
    """
    shared = template()
    head = head_vertices(person)
    bare = Scene(head, shared.faces)
    parts = [(_bearded(head, person, shared), shared.faces, shared.material, shared.canonical)]
    parts.append(_neck(head, shared))
    hair = hair_shell(person.hair, bare, shared.canonical, shared.faces, shared.ears, person.noise)
    parts.append((*hair, np.full(len(hair[1]), HAIR, np.uint8), hair[0]))
    if person.glasses is not None:
        rims = glasses_mesh(person.glasses, bare, person.eye_distance)
        parts.append((*rims, np.full(len(rims[1]), GLASSES, np.uint8), rims[0]))
    return _assemble(parts)


def _assemble(parts: list[tuple[Floats, Ints, npt.NDArray[np.uint8], Floats]]) -> Mesh:
    starts = np.cumsum([0] + [len(part[0]) for part in parts])
    vertices = np.concatenate([part[0] for part in parts])
    faces = np.concatenate([part[1] + start for part, start in zip(parts, starts[:-1], strict=True)]).astype(np.int32)
    normals = vertex_normals(vertices, faces)
    scene = Scene(vertices, faces)
    openness = _openness(scene, vertices, normals)
    canonical = np.concatenate([part[3] for part in parts])
    attributes = np.column_stack([vertices, normals, canonical, openness]).astype(np.float32)
    return Mesh(faces, np.concatenate([part[2] for part in parts]), attributes, scene)


def _bearded(head: Floats, person: Identity, shared: Template) -> Floats:
    """The head's vertices with the volume of a beard."""
    if person.beard not in ("full", "goatee"):
        return head
    density = beard_density(shared.canonical, person)
    density[np.unique(shared.faces[shared.material != SKIN])] = 0
    return np.asarray(head + 0.4 * density[:, None] * vertex_normals(head, shared.faces), np.float32)


def _neck(head: Floats, shared: Template) -> tuple[Floats, Ints, npt.NDArray[np.uint8], Floats]:
    """Extend the open neck of the head model, which is visible from the side, down out of the image."""
    edges = np.concatenate([shared.faces[:, [0, 1]], shared.faces[:, [1, 2]], shared.faces[:, [2, 0]]])
    _, first, count = np.unique(np.sort(edges, axis=1), axis=0, return_index=True, return_counts=True)
    rim = edges[first[count == 1]]
    rim = rim[(shared.canonical[rim, 1] < -8).all(axis=1)]
    used, edge = np.unique(rim, return_inverse=True)
    edge = edge.reshape(-1, 2).astype(np.int32)
    lower = head[used] * (1.12, 1, 1.05) - (0, _NECK_DROP, 0)
    canonical = shared.canonical[used] - (0, _NECK_DROP, 0)
    vertices = np.concatenate([head[used], lower]).astype(np.float32)
    down = edge + np.int32(len(used))
    faces = np.concatenate([np.column_stack([edge[:, 1], edge[:, 0], down[:, 0]]), np.column_stack([edge[:, 1], down])])
    skin = np.full(len(faces), SKIN, np.uint8)
    return vertices, faces.astype(np.int32), skin, np.concatenate([shared.canonical[used], canonical])


def vertex_normals(vertices: Floats, faces: Ints) -> Floats:
    """Unit normals (V, 3), triangles weighted by their area."""
    corners = vertices[faces]
    across = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    flat = faces.reshape(-1)
    total = [np.bincount(flat, np.repeat(across[:, axis], 3), len(vertices)) for axis in range(3)]
    normals = np.stack(total, axis=1)
    length = np.linalg.norm(normals, axis=1, keepdims=True)
    return np.asarray(normals / np.maximum(length, 1e-9), np.float32)


def _openness(scene: Scene, vertices: Floats, normals: Floats) -> Floats:
    """Cosine-weighted share of the sky above its tangent plane that each vertex sees (ambient occlusion)."""
    number = np.arange(_SKY) + 0.5
    height, turn = 1 - 2 * number / _SKY, np.pi * (1 + 5**0.5) * number
    wide = np.sqrt(1 - height**2)
    sky = np.stack([wide * np.cos(turn), height, wide * np.sin(turn)], axis=1).astype(np.float32)
    facing = np.maximum(normals @ sky.T, 0)
    vertex, direction = np.nonzero(facing > 0)
    blocked = scene.blocked(vertices[vertex] + 0.05 * normals[vertex], sky[direction])
    weight = facing[vertex, direction]
    visible = np.bincount(vertex, weight * ~blocked, len(vertices))
    return np.asarray(visible / np.maximum(np.bincount(vertex, weight, len(vertices)), 1e-6), np.float32)
