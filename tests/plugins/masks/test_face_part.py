"""The mask of one part of the face: from region maps, from landmarks, and parts that neither has."""

from __future__ import annotations

import sys
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from PIL import Image

from enface import DataInfo, RecipeError, Targets, WeightsError
from enface_plugins.masks import face_part, landmarks
from enface_plugins.masks.face_part import FacePart

NAMES = ("background", "skin", "hair", "brows", "eyes", "lips", "glasses")
installed = pytest.mark.skipif(
    find_spec("dlib") is None or find_spec("face_recognition_models") is None,
    reason='dlib or its model is not installed: pip install "enface[landmarks]"',
)


def data(names=NAMES, size=6) -> DataInfo:
    maps = np.zeros((1, size, size), np.uint8) if names else None
    targets = Targets(("a",), np.zeros((1, 3, size, size), np.uint8), maps, names)
    return DataInfo.square(size, {}, lambda count: targets)


def weights(maps, **given):
    maps = torch.tensor(maps)
    return FacePart(data=data(), **given)(torch.zeros(len(maps), 3, *maps.shape[1:]), maps)


@pytest.fixture(scope="module")
def portrait():
    """A photograph of a face, (1, 3, 96, 96) in [-1, 1]."""
    image = pytest.importorskip("skimage.data").astronaut()[:256, 96:352]
    small = np.asarray(Image.fromarray(image).resize((96, 96), Image.Resampling.LANCZOS))
    return torch.from_numpy(small.copy()).permute(2, 0, 1)[None] / 127.5 - 1


# ------------------------------------------------------------------ region maps


@pytest.mark.parametrize(
    ("part", "marked"),
    [
        ("face", [0, 1, 0, 1, 1, 1, 1]),
        ("mouth", [0, 0, 0, 0, 0, 1, 0]),
        ("eyes", [0, 0, 0, 0, 1, 0, 0]),
        ("glasses", [0, 0, 0, 0, 0, 0, 1]),
        ("hair", [0, 0, 1, 0, 0, 0, 0]),
        ("lips", [0, 0, 0, 0, 0, 1, 0]),
        ("background", [1, 0, 0, 0, 0, 0, 0]),
    ],
)
def test_a_part_is_the_regions_of_its_names(part, marked):
    assert weights([[[0, 1, 2, 3, 4, 5, 6]]], part=part).flatten().tolist() == marked


def test_each_target_has_its_own_part_and_one_without_it_has_weight_0():
    glasses = weights([[[6, 0], [0, 0]], [[1, 1], [1, 1]]], part="glasses")
    assert glasses.tolist() == [[[[1, 0], [0, 0]]], [[[0, 0], [0, 0]]]]


def test_the_boundary_is_a_band_half_inside_the_faces_edge():
    line = [0] * 6 + [1] * 8 + [2] * 6
    boundary = weights([[line] * 5], part="boundary", width=4)[0, 0, 2]
    assert boundary.tolist() == [0] * 4 + [1] * 4 + [0] * 4 + [1] * 4 + [0] * 4


def test_each_targets_boundary_is_its_own():
    left, right = [[1] * 4 + [0] * 8] * 5, [[1] * 8 + [0] * 4] * 5
    both = weights([left, right], part="boundary", width=2)
    assert both[0, 0, 2].tolist() == [0] * 3 + [1, 1] + [0] * 7
    assert both[1, 0, 2].tolist() == [0] * 7 + [1, 1] + [0] * 3


def test_a_dilated_part_covers_both_sides_of_its_edge():
    line = [1, 1, 1, 4, 1, 1, 1]
    assert weights([[line]], part="eyes", grow=2).flatten().tolist() == [0, 1, 1, 1, 1, 1, 0]


def test_an_unknown_part_is_refused_with_the_known_ones():
    with pytest.raises(RecipeError, match=r"no part is called 'ears'; known: face, boundary, eyes, .*glasses, hair"):
        FacePart(part="ears", data=data())
    with pytest.raises(RecipeError, match="landmarks do not cover glasses, and the data has no region maps"):
        FacePart(part="glasses", data=data(names=()))
    with pytest.raises(RecipeError, match="landmarks do not cover hair"):
        FacePart(part="hair", data=DataInfo.square(64))


# ------------------------------------------------------------------ landmarks


@installed
def test_landmarks_locate_the_parts(portrait):
    masks = {
        part: FacePart(part=part, data=data(names=(), size=96))(portrait)[0, 0]
        for part in ("face", "eyes", "brows", "nose", "mouth")
    }
    rows = torch.arange(96.0)[:, None]
    heights = {part: float((mask * rows).sum() / mask.sum()) for part, mask in masks.items()}
    assert heights["brows"] < heights["eyes"] < heights["nose"] < heights["mouth"]
    face = masks.pop("face")
    assert 0.1 < face.mean() < 0.6
    for part, mask in masks.items():
        assert 0 < mask.sum() < 0.2 * face.sum(), part
        assert (mask <= face).all(), part
    assert not (masks["eyes"] * masks["mouth"]).any()


@installed
def test_parts_missing_in_region_maps_are_drawn_from_landmarks(portrait):
    maps = torch.zeros(1, 96, 96, dtype=torch.int64)
    nose = FacePart(part="nose", data=data(size=96))(portrait, maps)
    assert torch.equal(nose, FacePart(part="nose", data=DataInfo.square(96))(portrait))


@installed
def test_without_a_face_the_weights_are_0():
    noise = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    for part in ("eyes", "boundary"):
        assert not FacePart(part=part, data=DataInfo.square(64))(noise).any()


@installed
def test_targets_without_a_detected_face_are_known(portrait):
    noise = torch.rand(2, 3, 96, 96, generator=torch.Generator().manual_seed(0)) * 2 - 1
    targets = torch.cat([noise[:1], portrait, noise[1:]])
    assert FacePart(part="eyes", data=DataInfo.square(96)).undetected(targets).tolist() == [True, False, True]


def test_a_part_of_region_maps_is_not_searched_for():
    """A person without glasses has none; nothing failed."""
    glasses = FacePart(part="glasses", data=data())
    assert not glasses.undetected(torch.zeros(2, 3, 6, 6)).any()


@installed
def test_a_targets_landmarks_are_detected_once(portrait, monkeypatch):
    calls = []
    real = landmarks.find_landmarks
    monkeypatch.setattr(landmarks, "find_landmarks", lambda image: calls.append(1) or real(image))
    monkeypatch.setattr(landmarks, "_CACHE", {})
    eyes, mouth = (FacePart(part=part, data=DataInfo.square(96)) for part in ("eyes", "mouth"))
    first = eyes(portrait)
    assert torch.equal(eyes(torch.cat([portrait, portrait])), torch.cat([first, first]))
    mouth(portrait)
    assert len(calls) == 1
    mouth(portrait.flip(-1))
    assert len(calls) == 2


def test_without_dlib_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "dlib", None)
    landmarks._models.cache_clear()
    try:
        with pytest.raises(WeightsError, match=r'need dlib: pip install "enface\[landmarks\]"'):
            FacePart(part="eyes", data=data(names=()))
        FacePart(part="eyes", data=data())
    finally:
        landmarks._models.cache_clear()


@installed
def test_region_maps_and_landmarks_of_synthetic_heads_agree():
    pytest.importorskip("anny")
    pytest.importorskip("embreex")
    from enface_plugins.datasets.synthetic_heads import SyntheticHeads

    heads = SyntheticHeads(identities=2, poses=9, lights=1, data=DataInfo.square(96))
    for row in (row for row in heads.rows() if row["pose"] == 0):
        target = torch.from_numpy(heads.image(row).copy()).permute(2, 0, 1)[None] / 127.5 - 1
        maps = torch.from_numpy(heads.regions(row).astype(np.int64))[None]
        for part, least in (("face", 0.6), ("eyes", 0.3), ("mouth", 0.3)):
            by_map = FacePart(part=part, data=data(size=96))(target, maps)
            by_points = FacePart(part=part, data=DataInfo.square(96))(target)
            both, either = torch.minimum(by_map, by_points).sum(), torch.maximum(by_map, by_points).sum()
            assert both / either > least, (row["key"], part, float(both / either))


def test_every_part_of_a_face_is_a_part():
    assert set(face_part._BY_LANDMARKS) <= {"boundary", "face", *face_part._NAMES}
