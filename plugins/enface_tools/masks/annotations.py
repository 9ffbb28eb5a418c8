"""Hand annotations: marked pixels per image, whose union over all images is a mask.

The seed system's boundary was made this way, by clicking on 20 frontal faces.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from enface.errors import DataError
from enface.system.atomic import atomic_write
from enface_tools.masks.files import check_mask_path

Annotation = npt.NDArray[np.bool_]
"""The marked pixels of one image, bool (H, W)."""


def annotations_path(out: Path) -> Path:
    """Path of the annotations of a mask file: ``mask.npy`` -> ``mask.marks.json``."""
    return out.with_suffix(".marks.json")


def prepare_output(out: Path) -> None:
    """Create the folder of a mask file; refuse a mask that was not drawn by hand or a path that cannot be written.

    Raises:
        EnfaceError: naming the problem and the remedy.
    """
    check_mask_path(out)
    if out.exists() and not annotations_path(out).is_file():
        raise DataError(f"{out} exists, but its annotations ({annotations_path(out).name}) do not; name another --out")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"cannot create folder {out.parent} ({error.strerror}); name another --out") from error
    if not os.access(out.parent, os.W_OK):
        raise DataError(f"cannot write to folder {out.parent}; name another --out")


def parse_annotations(
    points: object, shape: tuple[int, int], keys: Collection[str] | None = None
) -> dict[str, Annotation]:
    """Annotations from JSON data, ``{key: [[row, column], ...]}``; images without a marked pixel are skipped.

    Args:
        shape: Height and width of the images in pixels.
        keys: Keys of the images that may be annotated; default: any.

    Raises:
        DataError: if the data has another form, or a point lies outside its image, or a key is not in ``keys``.
    """
    if not isinstance(points, dict):
        raise DataError("annotations must map image keys to lists of [row, column]")
    annotations = {}
    for key, of_image in points.items():
        if keys is not None and key not in keys:
            raise DataError(f"no face has the key {key!r}")
        annotation = _parse_points(key, of_image, shape)
        if annotation.any():
            annotations[key] = annotation
    return annotations


def _parse_points(key: str, points: object, shape: tuple[int, int]) -> Annotation:
    if not isinstance(points, list):
        raise DataError(f"annotation of {key!r} must be a list of [row, column]")
    annotation = np.zeros(shape, np.bool_)
    for point in points:
        # Compare types: isinstance(True, int) is true.
        if not isinstance(point, list) or [type(value) for value in point] != [int, int]:
            raise DataError(f"annotation of {key!r}: {point!r} is not a [row, column]")
        row, column = point
        if not (0 <= row < shape[0] and 0 <= column < shape[1]):
            raise DataError(f"annotation of {key!r}: {point} lies outside the image of {shape[0]} x {shape[1]}")
        annotation[row, column] = True
    return annotation


def as_points(annotations: Mapping[str, Annotation]) -> dict[str, list[list[int]]]:
    """Annotations as JSON data, ``{key: [[row, column], ...]}``, row by row."""
    return {key: np.argwhere(annotation).tolist() for key, annotation in annotations.items() if annotation.any()}


def union(annotations: Mapping[str, Annotation], shape: tuple[int, int]) -> Annotation:
    """The pixels marked on any of the images, bool (H, W)."""
    marked = np.zeros(shape, np.bool_)
    for annotation in annotations.values():
        marked |= annotation
    return marked


def mask_weights(marked: Annotation, inside: float, outside: float) -> npt.NDArray[np.float32]:
    """Weights float32 (H, W): ``inside`` where marked, ``outside`` elsewhere."""
    return np.where(marked, np.float32(inside), np.float32(outside))


def read_annotations(path: Path, shape: tuple[int, int]) -> dict[str, Annotation]:
    """Read an annotation file; an empty dict if it does not exist.

    Raises:
        DataError: if the file cannot be read, is damaged, or was drawn on images of another size, naming it.
    """
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        drawn = content["height"], content["width"]
        if drawn == shape:
            return parse_annotations(content["marks"], shape)
    except OSError as error:
        raise DataError(f"cannot read annotations {path} ({error.strerror})") from error
    except (DataError, ValueError, KeyError, TypeError, RecursionError) as error:
        reason = str(error) if isinstance(error, DataError) else f"{type(error).__name__}: {error}"
        raise DataError(f"annotations {path} are damaged ({reason}); fix or move the file") from error
    raise DataError(
        f"annotations {path} were drawn on images of {drawn[0]} x {drawn[1]}, but the recipe's are "
        f"{shape[0]} x {shape[1]}; name another --out, or set data.size"
    )


def write_annotations(path: Path, annotations: Mapping[str, Annotation], shape: tuple[int, int]) -> None:
    """Write a file that :func:`read_annotations` reads, atomically.

    Raises:
        DataError: if it cannot be written.
    """
    text = json.dumps({"height": shape[0], "width": shape[1], "marks": as_points(annotations)})
    try:
        with atomic_write(path) as temporary:
            temporary.write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise DataError(f"cannot write {path} ({error.strerror})") from error
