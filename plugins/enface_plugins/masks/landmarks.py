"""The 68 landmarks of a face in a photograph, found by dlib.

Detector: histograms of oriented gradients in a sliding window (King, "Dlib-ml", JMLR 2009). Landmarks: Kazemi and
Sullivan, "One millisecond face alignment with an ensemble of regression trees", CVPR 2014. The model file of the
landmarks was trained on the iBUG 300-W dataset, whose terms exclude commercial use.
"""

from __future__ import annotations

import hashlib
import importlib
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from enface import WeightsError

Points = npt.NDArray[np.float64]

JAW = slice(0, 17)
"""From the ear at the image's left along the chin to the ear at its right."""
CHIN = 8
BROWS = (slice(17, 22), slice(22, 27))
"""Lines, each from the image's left to its right."""
NOSE = (27, 31, 32, 33, 34, 35)
"""A polygon: from the bridge along the nostrils."""
EYES = (slice(36, 42), slice(42, 48))
"""Polygons."""
MOUTH = slice(48, 60)
"""A polygon: the outer edge of the lips."""

_INSTALL = 'landmarks need {name}: pip install "enface[landmarks]"'
# The detector's smallest face is 80 px; larger pictures only take longer.
_SMALLEST, _LARGEST = 384, 768
# A face that fills its crop is found only with something around it.
_MARGIN = 0.25
# A kilobyte each.
_REMEMBERED = 20_000
_MEMORY: dict[bytes, Points | None] = {}


@dataclass(frozen=True)
class Face:
    """A face in a picture that was enlarged to find it.

    Attributes:
        picture: uint8 (h, w, 3), with a margin all around.
        landmarks: dlib's object of the 68 landmarks, in pixels of the picture.
    """

    picture: npt.NDArray[np.uint8]
    landmarks: Any


def find_landmarks(image: npt.NDArray[np.uint8]) -> Points | None:
    """The landmarks of the biggest face, or None where none is found.

    Small images are enlarged first, so that crops of 64 px will do.

    Args:
        image: uint8 (H, W, 3).

    Returns:
        float64 (68, 2), x and y in pixels of the image, in the order of iBUG's 68 points; a pixel's middle has
        whole numbers. They may lie outside the image.

    Raises:
        WeightsError: when dlib or its model is not installed.
    """
    face = find_face(image)
    if face is None:
        return None
    height, width = image.shape[:2]
    wide, high, margin = _enlarged(height, width)
    found = np.array([(point.x, point.y) for point in face.landmarks.parts()], np.float64)
    # From middle to middle of pixels of different sizes.
    return (found - margin + 0.5) * (width / wide, height / high) - 0.5


def remembered_landmarks(image: npt.NDArray[np.uint8]) -> Points | None:
    """The same, found once for images of the same bytes: an evaluation meets a target again with each source."""
    key = hashlib.blake2b(repr(image.shape).encode() + image.tobytes(), digest_size=16).digest()
    if key not in _MEMORY:
        if len(_MEMORY) >= _REMEMBERED:
            _MEMORY.clear()
        _MEMORY[key] = find_landmarks(image)
    return _MEMORY[key]


def find_face(image: npt.NDArray[np.uint8], *, whole: bool = False) -> Face | None:
    """The biggest face of an image, with its landmarks.

    Args:
        image: uint8 (H, W, 3).
        whole: Where no face is found, take the whole image for one.

    Returns:
        None where no face is found, unless ``whole``.

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
    return Face(picture, predictor(picture, place))


def require_dlib() -> None:
    """Raises WeightsError when dlib or its model is not installed, saying how to install them."""
    _models()


def _enlarged(height: int, width: int) -> tuple[int, int, int]:
    """Width, height and margin in pixels of what a face is looked for in."""
    scale = _scale(height, width)
    wide, high = max(1, round(width * scale)), max(1, round(height * scale))
    return wide, high, round(_MARGIN * min(wide, high))


def _scale(height: int, width: int) -> float:
    enlarged = max(1.0, _SMALLEST / min(height, width))
    return min(enlarged, _LARGEST / max(height, width))


@cache
def _models() -> tuple[Any, Any, Any]:
    """dlib, the detector and the predictor of landmarks; reading its 100 MB takes a second."""
    dlib = import_dlib(_INSTALL)
    predictor = dlib.shape_predictor(str(model_file("shape_predictor_68_face_landmarks.dat", _INSTALL)))
    return dlib, dlib.get_frontal_face_detector(), predictor


def import_dlib(install: str) -> Any:
    """The package. Raises WeightsError when it is not installed: ``install``, with its name in it."""
    try:
        return importlib.import_module("dlib")
    except ImportError as error:
        raise WeightsError(install.format(name="dlib")) from error


def model_file(name: str, install: str) -> Path:
    """A model of face_recognition_models. Raises WeightsError, as :func:`import_dlib`, when it is not installed."""
    # Found without importing the package, which asks for pkg_resources and fails where setuptools has none.
    spec = find_spec("face_recognition_models")
    folders = spec.submodule_search_locations if spec is not None else None
    for folder in folders or ():
        file = Path(folder) / "models" / name
        if file.is_file():
            return file
    raise WeightsError(install.format(name="face_recognition_models"))
