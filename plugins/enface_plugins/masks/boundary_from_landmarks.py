"""A mask of the face's boundary, from landmarks found in photographs."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import numpy as np
import numpy.typing as npt
import torch
from annotated_types import Ge
from torch import Tensor

from enface import DataError, DataInfo, Mask, RecipeError, Schedulable, as_schedule, list_images, read_image
from enface_plugins.masks.boundary import near_line, require_marks, soften, spread
from enface_plugins.masks.inside_outside import weigh
from enface_plugins.masks.landmarks import CHIN, JAW, Points, find_landmarks

_log = logging.getLogger("enface")
_ARC = np.linspace(0, np.pi, 25)


class BoundaryFromLandmarks(Mask):
    """One weight along the contour of the face, another elsewhere, from landmarks of some frontal photographs.

    In each photograph the 68 landmarks of the biggest face are found (dlib). The contour is the line along the
    jaw, closed over the forehead by half an ellipse through the jaw's two ends, upright in the face whichever way
    that is turned; ``width`` pixels wide, and all contours together, as one would click them by hand. The weight
    is outside + (inside - outside) * shape, where shape is 1 on the lines and, at a distance of d pixels from
    them, 3 t^2 - 2 t^3 of t = 1 - d / (falloff + 1), down to 0.

    A photograph in which no face is found is named in a warning and left out. Needs
    ``pip install "enface[landmarks]"``. The landmarks' model was trained on iBUG 300-W, whose terms exclude
    commercial use. For people who were drawn rather than photographed, ``boundary_from_regions`` is exact.

    Shape: (1, 1, H, W). Range: between ``inside`` and ``outside``.

    Args:
        images: A folder of frontal photographs, framed as the data is; unless given, training targets are used.
        faces: How many photographs to use, spread evenly over those there are; fewer if there are fewer.
        width: Width of the line in pixels.
        falloff: Pixels over which the weight falls from the line's to the others'; 0 is a hard edge.
        forehead: Height of the half ellipse above the jaw's ends, which are about as high as the eyes, as a
            multiple of their height above the chin; 0 leaves it away and marks the jaw alone.
        inside: Weight on the line, >= 0.
        outside: Weight of all other pixels, >= 0.

    Raises:
        DataError: when no face is found in any of the photographs, or one cannot be read.
        RecipeError: when there is no such folder, or the lines are all outside the image.
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
        found = [contour(points, forehead) for points in _found(images, faces, data)]
        lines = [near_line(torch.from_numpy(line), data.size, width) for line in found]
        marked = torch.stack(lines).any(dim=0)
        require_marks("boundary_from_landmarks", marked, "every contour lies outside its image")
        # Not persistent: it follows from the recipe and the data, so a checkpoint need not carry it.
        self.register_buffer("shape", soften(marked, falloff), persistent=False)

    def forward(self, step: int) -> Tensor:
        return weigh("boundary_from_landmarks", step, self.shape, self.inside, self.outside)


def contour(points: Points, forehead: float) -> Points:
    """The line around a face: along the jaw, and back over the forehead unless ``forehead`` is 0.

    Args:
        points: (68, 2) landmarks, x and y.
        forehead: Height of the half ellipse, as a multiple of the jaw's.

    Returns:
        (K, 2); closed lines end where they begin.
    """
    jaw = points[JAW]
    if forehead == 0:
        return jaw
    first, last = jaw[0], jaw[-1]
    middle, half = (first + last) / 2, (last - first) / 2
    # The direction away from the chin, square to the line between the ears: what is up in the face.
    up = np.array([half[1], -half[0]]) / np.linalg.norm(half)
    height = forehead * (middle - points[CHIN]) @ up
    arch = middle + np.cos(_ARC)[:, None] * half + np.sin(_ARC)[:, None] * height * up
    return np.concatenate([jaw, arch[1:-1], first[None]])


def _found(folder: Path | None, faces: int, data: DataInfo) -> list[Points]:
    """The landmarks of the photographs that show a face, in pixels of the training images."""
    found, missed, count = [], [], 0
    for name, image in _photographs(folder, faces, data):
        count += 1
        points = find_landmarks(image)
        if points is None:
            missed.append(name)
        else:
            # As the pack squeezes an image to its square.
            height, width = image.shape[:2]
            found.append((points + 0.5) * (data.size / width, data.size / height) - 0.5)
    if not found:
        raise DataError(
            f"boundary_from_landmarks: no face found in any of {count} images ({', '.join(missed)}); name a folder of "
            "frontal photographs with 'images', use boundary_from_regions, or mark the pixels by hand and use points"
        )
    if missed:
        _log.warning("no face found in %d of %d images: %s", len(missed), count, ", ".join(missed))
    return found


def _photographs(folder: Path | None, faces: int, data: DataInfo) -> Iterator[tuple[str, npt.NDArray[np.uint8]]]:
    if folder is None:
        targets = data.targets(faces)
        yield from zip(targets.keys, targets.images.transpose(0, 2, 3, 1), strict=True)
    elif folder.is_dir():
        yield from ((name, read_image(folder / name)) for name in spread(list_images(folder), faces))
    else:
        raise RecipeError(f"boundary_from_landmarks: 'images' {folder} is not a folder")
