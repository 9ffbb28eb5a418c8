"""A mask of one part of each target's face."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated

import numpy as np
import numpy.typing as npt
import torch
from annotated_types import Ge
from torch import Tensor
from torch.nn import functional

from enface import DataError, DataInfo, Mask, RecipeError
from enface_plugins.masks.boundary import bands, near_line
from enface_plugins.masks.boundary_from_landmarks import contour
from enface_plugins.masks.landmarks import BROWS, EYES, MOUTH, NOSE, Points, cached_landmarks, require_dlib
from enface_plugins.planes import as_rgb, require_rgb

Size = tuple[int, int]
BOUNDARY = "boundary"
# Names of the parts in region maps: of synthetic_heads, drawn faces and CelebAMask-HQ.
_OPEN_FACE = ("face", "head", "skin")
_NAMES: Mapping[str, tuple[str, ...]] = {
    "eyes": ("eyes", "l_eye", "r_eye"),
    "brows": ("brows", "eyebrows", "l_brow", "r_brow"),
    "nose": ("nose",),
    "mouth": ("mouth", "lips", "u_lip", "l_lip"),
    "glasses": ("glasses", "eye_g"),
    "hair": ("hair",),
}
_FACE = (*_OPEN_FACE, *(name for part, names in _NAMES.items() if part != "hair" for name in names))
_FOREHEAD = 0.75


class FacePart(Mask):
    """1 on one part of the target's face, 0 elsewhere; for ``evaluation.regions`` of a recipe.

    Parts: ``face``, ``boundary`` (a band along the edge of the face), ``eyes``, ``brows``, ``nose``, ``mouth``,
    ``glasses``, ``hair``, and any name in the data's region maps. Region maps are used if they contain the part; the
    face is then skin, brows, eyes, nose, mouth and glasses together. Otherwise the part is drawn from the target's 68
    landmarks (dlib, ``pip install "enface[landmarks]"``), which cover neither glasses nor hair: polygons through the
    landmarks of eyes, nose or lips, lines along the brows, and for the face the jaw, closed over the forehead by a half
    ellipse three quarters as high as the jaw.

    An image without the part (no glasses, no face detected) has weight 0 everywhere; an evaluation counts the targets
    without a detected face in a caveat. Landmarks are cached per target:
    fast in an evaluation, but not on the random crops of training (about 0.1 s per image).

    Shape: (N, 1, H, W). Range: 0 or 1.

    Args:
        part: Name of the part.
        width: Width of the ``boundary`` in pixels, half of it inside.
        grow: Pixels by which any other part is dilated, so that both sides of its edge count.

    Raises:
        RecipeError: when neither the data's region maps nor the landmarks have this part, or landmarks are needed and
            the images are neither RGB nor grey.
        WeightsError: when landmarks are needed, and dlib or its model is not installed.
    """

    table: Tensor

    def __init__(
        self,
        *,
        part: str = "face",
        width: Annotated[int, Ge(1)] = 4,
        grow: Annotated[int, Ge(0)] = 0,
        data: DataInfo,
    ) -> None:
        super().__init__()
        self.part, self.width, self.grow = part, width, grow
        names = _region_names(data)
        chosen = _regions_of(part, names)
        self._by_regions = bool(chosen)
        if not chosen:
            if part not in _BY_LANDMARKS:
                raise RecipeError(_unknown(part, names))
            require_rgb("face_part", data)
            require_dlib()
        # Not persistent: it follows from the recipe and the data, so checkpoints need not store it.
        self.register_buffer("table", torch.tensor([name in chosen for name in names]), persistent=False)

    def forward(self, target: Tensor, target_regions: Tensor | None = None) -> Tensor:
        if self._by_regions:
            assert target_regions is not None, "data with region maps passes them"
            inside = self.table[target_regions]
        else:
            inside = torch.stack([self._by_landmarks(image) for image in _pixels(target)]).to(target.device)
        if self.part == BOUNDARY:
            inside = bands(inside, self.width)
        weights = inside[:, None].float()
        if self.grow and self.part != BOUNDARY:
            weights = functional.max_pool2d(weights, 2 * self.grow + 1, stride=1, padding=self.grow)
        return weights

    def undetected(self, target: Tensor) -> Tensor:
        """Return (N,), True for each target without a detected face, if the part is drawn from landmarks."""
        if self._by_regions:
            return torch.zeros(len(target), dtype=torch.bool, device=target.device)
        return torch.tensor([cached_landmarks(image) is None for image in _pixels(target)], device=target.device)

    def _by_landmarks(self, image: npt.NDArray[np.uint8]) -> Tensor:
        points, (height, width) = cached_landmarks(image), image.shape[:2]
        size = (height, width)
        return torch.zeros(size, dtype=torch.bool) if points is None else _BY_LANDMARKS[self.part](points, size)


def _region_names(data: DataInfo) -> tuple[str, ...]:
    try:
        targets = data.targets(1)
    except DataError:  # There is no training data when pairs of images are evaluated; landmarks remain.
        return ()
    return targets.region_names if targets.regions is not None else ()


def _regions_of(part: str, names: Sequence[str]) -> set[str]:
    """The names in region maps that make up a part; empty if they do not contain it."""
    if part in ("face", BOUNDARY):
        return set(_FACE) & set(names) if set(_OPEN_FACE) & set(names) else set()
    return ({part} | set(_NAMES.get(part, ()))) & set(names)


def _unknown(part: str, names: Sequence[str]) -> str:
    if part in _NAMES and not names:
        return f"face_part: landmarks do not cover {part}, and the data has no region maps"
    known = [*_BY_LANDMARKS, *(name for name in (*_NAMES, *names) if _regions_of(name, names))]
    return f"face_part: no part is called {part!r}; known: {', '.join(dict.fromkeys(known))}"


def _pixels(images: Tensor) -> npt.NDArray[np.uint8]:
    """RGB or grey images in [-1, 1] as uint8 (N, H, W, 3), as dlib takes them."""
    levels = ((as_rgb(images).float() + 1) * 127.5).round().clamp(0, 255)
    return np.ascontiguousarray(levels.permute(0, 2, 3, 1).byte().cpu().numpy())


def _polygon(points: Points, size: Size) -> Tensor:
    """Mark the pixels whose centres lie in a polygon (K, 2), bool (H, W)."""
    from matplotlib.path import Path

    height, width = size
    pixels = np.stack(np.meshgrid(np.arange(width), np.arange(height)), axis=-1).reshape(-1, 2)
    return torch.from_numpy(Path(points).contains_points(pixels).reshape(size))


def _face(points: Points, size: Size) -> Tensor:
    return _polygon(contour(points, _FOREHEAD), size)


def _brows(points: Points, size: Size) -> Tensor:
    masks = []
    for line in (points[brow] for brow in BROWS):
        # A fifth as high as long.
        width = max(1, round(float(np.linalg.norm(line[-1] - line[0])) / 5))
        masks.append(near_line(torch.from_numpy(line), size, width))
    return torch.stack(masks).any(0)


def _eyes(points: Points, size: Size) -> Tensor:
    return torch.stack([_polygon(points[eye], size) for eye in EYES]).any(0)


_BY_LANDMARKS: Mapping[str, Callable[[Points, Size], Tensor]] = {
    "face": _face,
    BOUNDARY: _face,
    "eyes": _eyes,
    "brows": _brows,
    "nose": lambda points, size: _polygon(points[list(NOSE)], size),
    "mouth": lambda points, size: _polygon(points[MOUTH], size),
}
