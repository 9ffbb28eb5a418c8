"""A mask of the face's boundary, from maps that say what is where."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import numpy.typing as npt
import torch
from annotated_types import Ge
from PIL import Image
from torch import Tensor

from enface import DataInfo, Mask, RecipeError, Schedulable, as_schedule, list_images
from enface_plugins.masks.boundary import band, require_marks, soften, spread
from enface_plugins.masks.inside_outside import weigh

Flags = npt.NDArray[np.bool_]


class BoundaryFromRegions(Mask):
    """One weight along the boundary of the face, another elsewhere, as marked by hand on some frontal faces.

    Of each of ``faces`` training targets, the set of pixels that belong to one of ``regions``; around its edge a
    band ``width`` pixels wide, half inside and half outside; and all these bands together. The image's own border
    is no edge. The weight is outside + (inside - outside) * shape, where shape is 1 in the bands and, at a
    distance of d pixels from them, 3 t^2 - 2 t^3 of t = 1 - d / (falloff + 1), down to 0.

    Shape: (1, 1, H, W). Range: between ``inside`` and ``outside``.

    Args:
        regions: Names of the regions that make up the face. Unless given, all but the first, which is the
            background: then the boundary is the outline of the head with its hair.
        silhouettes: A folder of pictures to use instead, framed as the data is: what is opaque counts, or in
            pictures without transparency what is brighter than half. For data without region maps.
        faces: How many faces (or silhouettes) to mark, spread evenly over those there are; fewer if there are fewer.
        width: Width of the band in pixels; of an odd one the middle pixel lies inside.
        falloff: Pixels over which the weight falls from the band's to the others'; 0 is a hard edge.
        inside: Weight in the band, >= 0.
        outside: Weight of all other pixels, >= 0.

    Raises:
        RecipeError: when the data has no region maps and no silhouettes are given, a region's name is unknown, a
            silhouette is not square or cannot be read, or nothing is marked.
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
        # Not persistent: it follows from the recipe and the data, so a checkpoint need not carry it.
        self.register_buffer("shape", soften(marked, falloff), persistent=False)

    def forward(self, step: int) -> Tensor:
        return weigh("boundary_from_regions", step, self.shape, self.inside, self.outside)


def _of_regions(names: tuple[str, ...], faces: int, data: DataInfo) -> Flags:
    targets = data.targets(faces)
    if targets.regions is None:
        raise RecipeError(
            "boundary_from_regions: the data has no region maps; give 'silhouettes', a folder of pictures, or use "
            "boundary_from_landmarks"
        )
    known = targets.region_names
    unknown = [name for name in names if name not in known]
    if unknown:
        raise RecipeError(f"boundary_from_regions: no region is called {unknown[0]!r}; known: {', '.join(known)}")
    chosen = [index for index, name in enumerate(known) if (name in names if names else index > 0)]
    return np.isin(targets.regions, chosen)


def _of_silhouettes(folder: Path, faces: int, size: int) -> Flags:
    if not folder.is_dir():
        raise RecipeError(f"boundary_from_regions: 'silhouettes' {folder} is not a folder")
    return np.stack([_silhouette(folder / name, size) for name in spread(list_images(folder), faces)])


def _silhouette(path: Path, size: int) -> Flags:
    try:
        with Image.open(path) as opened:
            alpha = opened.convert("RGBA").getchannel("A")
            # An alpha channel that hides nothing says nothing.
            grey = opened.convert("L") if alpha.getextrema()[0] == 255 else alpha
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise RecipeError(f"silhouette {path} cannot be read: {error}") from error
    if grey.width != grey.height:
        raise RecipeError(f"silhouette {path}: is {grey.height} x {grey.width}; the images are square, {size} x {size}")
    binary = grey.point(lambda value: 255 if value > 127 else 0)
    return np.asarray(binary.resize((size, size), Image.Resampling.BOX)) > 127
