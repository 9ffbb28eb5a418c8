"""A mask of the face boundary, from landmarks detected in photographs."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import torch
from annotated_types import Ge
from torch import Tensor

from enface import DataError, DataInfo, Mask, RecipeError, Schedulable, as_schedule
from enface_plugins.image_files import list_images, read_image
from enface_plugins.masks.boundary import near_line, require_marks, soften, spread
from enface_plugins.masks.inside_outside import inside_outside
from enface_plugins.masks.landmarks import CHIN, JAW, Points, find_landmarks, photograph
from enface_plugins.planes import require_rgb

_log = logging.getLogger("enface")
_ARC = np.linspace(0, np.pi, 25)


class BoundaryFromLandmarks(Mask):
    """One weight along face contours, another elsewhere, from landmarks of several frontal photographs.

    dlib detects the 68 landmarks of the largest face in each photograph. The contour follows the jaw and is closed
    over the forehead by a half ellipse through the two ends of the jaw, upright relative to the face. All contours,
    ``width`` pixels wide, are marked together, as if clicked by hand. The weight is
    outside + (inside - outside) * shape, where shape is 1 on the contours and, at a distance of d pixels from them,
    3 t^2 - 2 t^3 with t = 1 - d / (falloff + 1), down to 0.

    Photographs without a detected face are skipped, with a warning that names them. Needs
    ``pip install "enface[landmarks]"``. The landmark model was trained on iBUG 300-W, whose terms exclude commercial
    use. For rendered people with region maps, ``boundary_from_regions`` is exact.

    Shape: (1, 1, H, W). Range: between ``inside`` and ``outside``.

    Args:
        images: Folder of frontal photographs, framed like the data (default: training targets). Of those of another
            shape the largest centred rectangle of the data's shape is used, as by the data's ``fit: crop``.
        faces: Number of photographs to use, spread evenly over those available; all if there are fewer.
        width: Width of the line in pixels.
        falloff: Pixels over which the weight falls from ``inside`` to ``outside``; 0 is a hard edge.
        forehead: Height of the half ellipse above the ends of the jaw (about eye level), as a multiple of their height
            above the chin; 0 marks the jaw alone.
        inside: Weight on the line, >= 0.
        outside: Weight of all other pixels, >= 0.

    Raises:
        DataError: when no face is detected in any photograph, or one cannot be read.
        RecipeError: when the folder does not exist, all lines are outside the image, or training targets are neither
            RGB nor grey.
        WeightsError: when dlib or its model is not installed.
    """

    shape: Tensor

    def __init__(
        self,
        *,
        images: Path | None = None,
        faces: Annotated[int, Ge(1)] = 20,
        width: Annotated[int, Ge(1)] = 1,
        falloff: Annotated[float, Ge(0)] = 0.0,
        forehead: Annotated[float, Ge(0)] = 0.75,
        inside: Schedulable = 5.0,
        outside: Schedulable = 1.0,
        data: DataInfo,
    ) -> None:
        super().__init__()
        self.inside, self.outside = as_schedule(inside), as_schedule(outside)
        contours = [contour(points, forehead) for points in _landmarks(images, faces, data)]
        lines = [near_line(torch.from_numpy(line), data.size, width) for line in contours]
        marked = torch.stack(lines).any(dim=0)
        require_marks("boundary_from_landmarks", marked, "every contour lies outside its image")
        # Not persistent: it follows from the recipe and the data, so checkpoints need not store it.
        self.register_buffer("shape", soften(marked, falloff), persistent=False)

    def forward(self, step: int) -> Tensor:
        return inside_outside("boundary_from_landmarks", step, self.shape, self.inside, self.outside)


def contour(points: Points, forehead: float) -> Points:
    """The line along the jaw and, unless ``forehead`` is 0, back over the forehead.

    Args:
        points: (68, 2) landmarks, x and y.
        forehead: Height of the half ellipse, as a multiple of the jaw's.

    Returns:
        (K, 2); a closed line ends at its first point.
    """
    jaw = points[JAW]
    if forehead == 0:
        return jaw
    first, last = jaw[0], jaw[-1]
    middle, half = (first + last) / 2, (last - first) / 2
    # Up in the face: away from the chin, perpendicular to the line between the ears.
    up = np.array([half[1], -half[0]]) / np.linalg.norm(half)
    height = forehead * (middle - points[CHIN]) @ up
    arch = middle + np.cos(_ARC)[:, None] * half + np.sin(_ARC)[:, None] * height * up
    return np.concatenate([jaw, arch[1:-1], first[None]])


def _landmarks(folder: Path | None, faces: int, data: DataInfo) -> list[Points]:
    """Landmarks of all photographs with a detected face, in pixels of the training images."""
    landmarks, missed, count = [], [], 0
    for name, image in _photographs(folder, faces, data):
        count += 1
        points = find_landmarks(image)
        if points is None:
            missed.append(name)
        else:
            scale = data.size[1] / image.shape[1], data.size[0] / image.shape[0]
            landmarks.append((points + 0.5) * scale - 0.5)
    if not landmarks:
        raise DataError(
            f"boundary_from_landmarks: no face detected in any of {count} images ({', '.join(missed)}); set 'images' "
            "to a folder of frontal photographs, use boundary_from_regions, or mark the pixels by hand and use points"
        )
    if missed:
        _log.warning("no face detected in %d of %d images: %s", len(missed), count, ", ".join(missed))
    return landmarks


def _photographs(folder: Path | None, faces: int, data: DataInfo) -> Iterator[tuple[str, npt.NDArray[np.uint8]]]:
    """Names and images, uint8 (h, w, 3) of the data's shape."""
    if folder is None:
        require_rgb("boundary_from_landmarks", data)
        targets = data.targets(faces)
        images = targets.images.transpose(0, 2, 3, 1)
        yield from ((key, photograph(image)) for key, image in zip(targets.keys, images, strict=True))
    elif folder.is_dir():
        for name in spread(list_images(folder), faces):
            yield name, photograph(_cropped(read_image(folder / name), data.size))
    else:
        raise RecipeError(f"boundary_from_landmarks: 'images' {folder} is not a folder")


def _cropped(image: npt.NDArray[Any], size: tuple[int, int]) -> npt.NDArray[Any]:
    """The largest centred part of an image (h, w, C) with the shape of a size (H, W)."""
    scale = min(image.shape[0] / size[0], image.shape[1] / size[1])
    height, width = (round(scale * side) for side in size)
    top, left = (image.shape[0] - height) // 2, (image.shape[1] - width) // 2
    return image[top : top + height, left : left + width]
