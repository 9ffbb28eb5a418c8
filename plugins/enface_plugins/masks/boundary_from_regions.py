"""A mask of the face boundary, from region maps or silhouettes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import numpy.typing as npt
import torch
from annotated_types import Ge
from PIL import Image
from torch import Tensor

from enface import DataInfo, Mask, RecipeError, Schedulable, as_schedule
from enface_plugins.image_files import PICTURE_EXTENSIONS, list_images
from enface_plugins.masks.boundary import band, require_marks, soften, spread
from enface_plugins.masks.inside_outside import inside_outside

Flags = npt.NDArray[np.bool_]


class BoundaryFromRegions(Mask):
    """One weight along face boundaries, another elsewhere, from region maps of several frontal faces.

    For each of ``faces`` training targets, a band ``width`` pixels wide, half inside and half outside, follows the edge
    of the pixels that belong to ``regions``; all bands are marked together. The image border is not an edge. The
    weight is outside + (inside - outside) * shape, where shape is 1 in the bands and, at a distance of d pixels from
    them, 3 t^2 - 2 t^3 with t = 1 - d / (falloff + 1), down to 0.

    Shape: (1, 1, H, W). Range: between ``inside`` and ``outside``.

    Args:
        regions: Names of the regions that make up the face (default: all but the first, which is the background; the
            boundary is then the outline of the head with its hair).
        silhouettes: Folder of silhouettes to use instead, for data without region maps, framed like the data. Opaque
            pixels are inside, or in images without transparency those brighter than half.
        faces: Number of faces or silhouettes to mark, spread evenly over those available; all if there are fewer.
        width: Width of the band in pixels; of an odd width the middle pixel is inside.
        falloff: Pixels over which the weight falls from ``inside`` to ``outside``; 0 is a hard edge.
        inside: Weight in the band, >= 0.
        outside: Weight of all other pixels, >= 0.

    Raises:
        RecipeError: when the data has no region maps and no silhouettes are given, a region is unknown, a silhouette
            has another shape than the images or cannot be read, or no pixel is marked.
    """

    shape: Tensor

    def __init__(
        self,
        *,
        regions: tuple[str, ...] = (),
        silhouettes: Path | None = None,
        faces: Annotated[int, Ge(1)] = 20,
        width: Annotated[int, Ge(1)] = 1,
        falloff: Annotated[float, Ge(0)] = 0.0,
        inside: Schedulable = 5.0,
        outside: Schedulable = 1.0,
        data: DataInfo,
    ) -> None:
        super().__init__()
        self.inside, self.outside = as_schedule(inside), as_schedule(outside)
        if silhouettes is None:
            sets = _of_regions(regions, faces, data)
        elif regions:
            raise RecipeError("boundary_from_regions: give 'regions' or 'silhouettes', not both")
        else:
            sets = _of_silhouettes(silhouettes, faces, data.size)
        marked = band(torch.from_numpy(sets), width)
        require_marks("boundary_from_regions", marked, "no face has an edge inside its image")
        # Not persistent: it follows from the recipe and the data, so checkpoints need not store it.
        self.register_buffer("shape", soften(marked, falloff), persistent=False)

    def forward(self, step: int) -> Tensor:
        return inside_outside("boundary_from_regions", step, self.shape, self.inside, self.outside)


def _of_regions(names: tuple[str, ...], faces: int, data: DataInfo) -> Flags:
    targets = data.targets(faces)
    if targets.regions is None:
        raise RecipeError(
            "boundary_from_regions: the data has no region maps; give 'silhouettes', a folder of images, or use "
            "boundary_from_landmarks"
        )
    known = targets.region_names
    unknown = [name for name in names if name not in known]
    if unknown:
        raise RecipeError(f"boundary_from_regions: no region is called {unknown[0]!r}; known: {', '.join(known)}")
    chosen = [index for index, name in enumerate(known) if (name in names if names else index > 0)]
    return np.isin(targets.regions, chosen)


def _of_silhouettes(folder: Path, faces: int, size: tuple[int, int]) -> Flags:
    if not folder.is_dir():
        raise RecipeError(f"boundary_from_regions: 'silhouettes' {folder} is not a folder")
    names = spread(list_images(folder, PICTURE_EXTENSIONS), faces)
    return np.stack([_silhouette(folder / name, size) for name in names])


def _silhouette(path: Path, size: tuple[int, int]) -> Flags:
    try:
        with Image.open(path) as image:
            alpha = image.convert("RGBA").getchannel("A")
            # An alpha channel that is opaque everywhere holds no silhouette.
            grey = image.convert("L") if alpha.getextrema()[0] == 255 else alpha
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise RecipeError(f"silhouette {path} cannot be read: {error}") from error
    height, width = size
    if grey.height * width != grey.width * height:
        raise RecipeError(
            f"silhouette {path} is {grey.height} x {grey.width}; crop it to the shape of the images, {height} x {width}"
        )
    binary = grey.point(lambda value: 255 if value > 127 else 0)
    return np.asarray(binary.resize((width, height), Image.Resampling.BOX)) > 127
