"""Marks made by hand: pixels by image key, whose union over all images is a mask.

As in the seed system, whose author clicked the boundary on 20 frontal faces.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from enface.errors import DataError
from enface.system.atomic import replacing
from enface_tools.masks.files import check_mask_path

Marked = npt.NDArray[np.bool_]
"""The marked pixels of one image, bool (H, W)."""


def marks_path(out: Path) -> Path:
    """Where the marks of a mask file are kept: ``mask.npy`` -> ``mask.marks.json``."""
    return out.with_suffix(".marks.json")


def check_out(out: Path) -> None:
    """Refuse a mask file that cannot be written, or that would replace one made in another way; make its folder.

    Raises:
        EnfaceError: saying what is wrong with it and what to do.
    """
    check_mask_path(out)
    if out.exists() and not marks_path(out).is_file():
        raise DataError(f"{out} exists, and no marks ({marks_path(out).name}) lie beside it; name another --out")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"folder {out.parent} cannot be made ({error.strerror}); name another --out") from error
    if not os.access(out.parent, os.W_OK):
        raise DataError(f"folder {out.parent} cannot be written to; name another --out")


def parse_marks(plain: object, shape: tuple[int, int], keys: Collection[str] | None = None) -> dict[str, Marked]:
    """Marks from their plain form, ``{key: [[row, column], ...]}``; images without a mark are left out.

    Args:
        shape: Height and width of the images in pixels.
        keys: Images that may be marked; any unless given.

    Raises:
        DataError: when anything in it is not that, lies outside the image, or belongs to another image.
    """
    if not isinstance(plain, dict):
        raise DataError("marks must be a map of image keys to lists of [row, column]")
    marks = {}
    for key, points in plain.items():
        if keys is not None and key not in keys:
            raise DataError(f"no face has the key {key!r}")
        marked = _parse_points(key, points, shape)
        if marked.any():
            marks[key] = marked
    return marks


def _parse_points(key: str, points: object, shape: tuple[int, int]) -> Marked:
    if not isinstance(points, list):
        raise DataError(f"marks of {key!r} must be a list of [row, column]")
    marked = np.zeros(shape, np.bool_)
    for point in points:
        # By type, for True is an int to isinstance.
        if not isinstance(point, list) or [type(value) for value in point] != [int, int]:
            raise DataError(f"marks of {key!r}: {point!r} is not a [row, column]")
        row, column = point
        if not (0 <= row < shape[0] and 0 <= column < shape[1]):
            raise DataError(f"marks of {key!r}: {point} lies outside the image of {shape[0]} x {shape[1]}")
        marked[row, column] = True
    return marked


def plain_marks(marks: Mapping[str, Marked]) -> dict[str, list[list[int]]]:
    """Marks as ``{key: [[row, column], ...]}``, row by row."""
    return {key: np.argwhere(marked).tolist() for key, marked in marks.items() if marked.any()}


def union(marks: Mapping[str, Marked], shape: tuple[int, int]) -> Marked:
    """The pixels marked on any of the images, bool (H, W)."""
    made = np.zeros(shape, np.bool_)
    for marked in marks.values():
        made |= marked
    return made


def mask_weights(marked: Marked, inside: float, outside: float) -> npt.NDArray[np.float32]:
    """Weights float32 (H, W): ``inside`` where marked, ``outside`` elsewhere."""
    return np.where(marked, np.float32(inside), np.float32(outside))


def read_marks(path: Path, shape: tuple[int, int]) -> dict[str, Marked]:
    """The marks a file keeps; none when there is no file.

    Raises:
        DataError: when it cannot be read, is damaged, or was drawn on images of another size, naming it.
    """
    if not path.is_file():
        return {}
    try:
        plain = json.loads(path.read_text(encoding="utf-8"))
        drawn = plain["height"], plain["width"]
        if drawn == shape:
            return parse_marks(plain["marks"], shape)
    except OSError as error:
        raise DataError(f"marks {path} cannot be read ({error.strerror})") from error
    except DataError as error:
        raise DataError(f"marks {path} are damaged: {error}; mend or move the file") from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise DataError(f"marks {path} are damaged ({type(error).__name__}: {error}); mend or move the file") from error
    raise DataError(
        f"marks {path} were drawn on images of {drawn[0]} x {drawn[1]}, but the recipe's are {shape[0]} x {shape[1]}; "
        "name another --out, or set data.size"
    )


def write_marks(path: Path, marks: Mapping[str, Marked], shape: tuple[int, int]) -> None:
    """Write marks to a file that :func:`read_marks` reads, whole or not at all.

    Raises:
        DataError: when it cannot be written.
    """
    text = json.dumps({"height": shape[0], "width": shape[1], "marks": plain_marks(marks)})
    try:
        with replacing(path) as beside:
            beside.write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise DataError(f"cannot write {path} ({error.strerror})") from error
