"""Alignment of photographs whose names tell identity and pose, by dlib's face detector: ``photos.py align``.

Every crop shows the detector's box at the size and place that it has in renderings of ``synthetic_heads``, so that a
network pretrained on these finds faces where it expects them. One scale in both directions, no rotation.

The box places a face rather than landmarks, because dlib's landmark models miss profiles and faces seen from above:
they follow the outline of the cheek, or see a front in it. At yaw 0 the eyes of the model with 5 points refine the box,
whose size is otherwise rounded to a step of the detector's pyramid, a fifth. Both models are free for any use; dlib's
model with 68 points is not. King, "Max-margin object detection", arXiv:1502.00046, 2015.
"""

from __future__ import annotations

import multiprocessing
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from enface_plugins.masks.landmarks import import_dlib, model_file

NAME = re.compile(r"(?P<identity>\d{3})_yaw(?P<yaw>[+-]\d+)_pitch(?P<pitch>[+-]\d+)")
SIZE = 128
"""Side of the crops in pixels."""
BOX_SIDE = 0.54
"""Side of the box in the crop, as a share of its side. Measured, like the next two, on ten synthetic heads."""
BOX_Y = 0.585
BOX_X = {0: 0.5, 45: 0.575, 90: 0.62}
"""Centre of the box by yaw; mirrored if the nose points to the left (a negative yaw)."""
SIDES = (192, 210)
"""Sides of the enlargements that are searched. The mean of two boxes halves the error of rounding their sizes."""
BOX_IN_EYES = 2.2
"""Side of the box, in distances of the eyes; measured, like the next one, on frontal photographs of FRMDB's 001-048."""
DROP_IN_EYES = 0.28
"""Centre of the box below the eyes, in distances of the eyes."""
_INSTALL = 'alignment needs {name}: pip install "enface[identity]"'

Points = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Box:
    """A square around a face: its centre and side, as shares of the image's sides, which are equal."""

    x: float
    y: float
    side: float


def mean_box(boxes: Sequence[Box]) -> Box:
    """Return the box with the mean centre and side."""
    x, y, side = np.mean([(box.x, box.y, box.side) for box in boxes], axis=0)
    return Box(float(x), float(y), float(side))


def refined(box: Box, points: Points) -> Box:
    """Return the box that the eyes imply if the face is seen from the front, else ``box`` itself.

    Args:
        box: The detector's box.
        points: (5, 2), x and y as shares of the image's side: both corners of one eye, both of the other, and the base
            of the nose.
    """
    eyes = np.stack([points[0:2].mean(0), points[2:4].mean(0)])
    middle = eyes.mean(0)
    across, down = np.abs(eyes[1] - eyes[0])
    aside = abs(points[4, 0] - middle[0])
    # From the front the nose is between the eyes, and the eyes are level and far apart.
    if aside > 0.2 * across or down > 0.1 * across or not 0.33 < across / box.side < 0.6:
        return box
    return Box(float(middle[0]), float(middle[1] + DROP_IN_EYES * across), float(BOX_IN_EYES * across))


def window(box: Box, yaw: int) -> tuple[float, float, float, float]:
    """Return left, top, right and bottom of the crop that shows ``box`` at its place, as shares of the image's side.

    Args:
        yaw: Nominal yaw in degrees: 0, 45 or 90, negative if the nose points to the left.
    """
    side = box.side / BOX_SIDE
    across = BOX_X[abs(yaw)] if yaw >= 0 else 1 - BOX_X[abs(yaw)]
    left, top = box.x - across * side, box.y - BOX_Y * side
    return left, top, left + side, top + side


def cut(image: Image.Image, shares: tuple[float, float, float, float], size: int = SIZE) -> Image.Image:
    """Return a window of a square image, resized by Lanczos interpolation; outside the image, its edge is repeated."""
    side = image.width
    margin = side
    pixels = np.pad(np.asarray(image), ((margin, margin), (margin, margin), (0, 0)), mode="edge")
    left, top, right, bottom = (share * side + margin for share in shares)
    return Image.fromarray(pixels).resize((size, size), Image.Resampling.LANCZOS, box=(left, top, right, bottom))


def detect(file: Path) -> Box | None:
    """Return the box of the most certain face of a square photograph; None if no face is detected."""
    found = [face for side in SIDES if (face := _search(_open(file), side)) is not None]
    if not found:
        return None
    box = mean_box([box for box, _ in found])
    return refined(box, np.mean([points for _, points in found], axis=0)) if pose(file)[0] == 0 else box


def photographs(folder: Path) -> list[Path]:
    """Return the photographs below a folder.

    Raises:
        ValueError: when no file has a name of FRMDB.
    """
    files = [file for file in sorted(folder.rglob("*.png")) if NAME.fullmatch(file.stem)]
    if not files:
        raise ValueError(f"{folder}: no file is named like 001_yaw+045_pitch-30.png")
    return files


def detect_all(files: Sequence[Path], workers: int) -> dict[Path, Box | None]:
    """Return the result of :func:`detect` for each file, computed by several processes."""
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        return dict(zip(files, pool.imap(detect, files, chunksize=8), strict=True))


def align(folder: Path, out: Path, boxes: Mapping[Path, Box | None]) -> dict[int, tuple[int, int]]:
    """Align photographs below ``folder`` into files of the same names below ``out``.

    A photograph without a detected face is cropped at the mean box of its pose.

    Returns:
        By yaw, the number of photographs in which a face was detected, and of all.

    Raises:
        ValueError: when no face is detected in all photographs of a pose.
    """
    means = _means(boxes)
    counts: dict[int, tuple[int, int]] = {}
    for file, box in boxes.items():
        yaw, _ = pose(file)
        target = out / file.relative_to(folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        cut(_open(file), window(box or means[pose(file)], yaw)).save(target)
        detected, number = counts.get(yaw, (0, 0))
        counts[yaw] = (detected + (box is not None), number + 1)
    return dict(sorted(counts.items()))


def pose(file: Path) -> tuple[int, int]:
    """Return yaw and pitch in degrees, from a photograph's name."""
    match = NAME.fullmatch(file.stem)
    assert match is not None, "files of other names are skipped"
    return int(match["yaw"]), int(match["pitch"])


def _means(boxes: Mapping[Path, Box | None]) -> dict[tuple[int, int], Box]:
    """The mean box of each pose."""
    by_pose: dict[tuple[int, int], list[Box]] = {}
    for file, box in boxes.items():
        by_pose.setdefault(pose(file), []).extend([box] if box else [])
    for (yaw, pitch), members in by_pose.items():
        if not members:
            raise ValueError(f"no face was detected at yaw {yaw:+}, pitch {pitch:+}; are these photographs of faces?")
    return {key: mean_box(members) for key, members in by_pose.items()}


def _open(file: Path) -> Image.Image:
    with Image.open(file) as image:
        if image.width != image.height:
            raise ValueError(f"{file}: is {image.width} x {image.height} pixels; alignment needs square photographs")
        return image.convert("RGB")


def _search(image: Image.Image, side: int) -> tuple[Box, Points] | None:
    """The most certain face of an image enlarged to ``side`` pixels, and its 5 points, as shares of its side."""
    detector, predictor = _models()
    margin = side // 8
    enlarged = np.asarray(image.resize((side, side), Image.Resampling.BICUBIC))
    picture = np.ascontiguousarray(np.pad(enlarged, ((margin, margin), (margin, margin), (0, 0)), mode="edge"))
    faces = detector(picture, 0)
    if not faces:
        return None
    place = max(faces, key=lambda face: face.confidence).rect
    points = np.array([(point.x, point.y) for point in predictor(picture, place).parts()], np.float64)
    middle = place.dcenter()
    box = Box((middle.x - margin + 0.5) / side, (middle.y - margin + 0.5) / side, place.width() / side)
    # Pixel centres to shares.
    return box, (points - margin + 0.5) / side


@cache
def _models() -> tuple[Any, Any]:
    """dlib's convolutional face detector, and its landmark model with 5 points."""
    dlib = import_dlib(_INSTALL)
    detector = dlib.cnn_face_detection_model_v1(str(model_file("mmod_human_face_detector.dat", _INSTALL)))
    predictor = dlib.shape_predictor(str(model_file("shape_predictor_5_face_landmarks.dat", _INSTALL)))
    return detector, predictor
