"""Mask files and their pictures."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from enface.errors import EnfaceError
from enface_tools.masks.files import save_mask

GREY = np.full((8, 8, 3), 100, np.uint8)


def weights(marked: float = 5.0, unmarked: float = 1.0) -> np.ndarray:
    mask = np.full((8, 8), unmarked, np.float32)
    mask[2, 3:6] = marked
    return mask


def test_whole_numbers_are_stored_as_int8(tmp_path):
    save_mask(weights(), GREY, tmp_path / "m.npy")
    stored = np.load(tmp_path / "m.npy")
    assert stored.dtype == np.int8
    assert np.array_equal(stored, weights())


@pytest.mark.parametrize("marked", [2.5, 128.0, 1e-3])
def test_other_weights_are_stored_as_float32(tmp_path, marked):
    save_mask(weights(marked, 0), GREY, tmp_path / "m.npy")
    stored = np.load(tmp_path / "m.npy")
    assert stored.dtype == np.float32
    assert np.array_equal(stored, weights(marked, 0))


def test_the_picture_shows_the_marks_over_the_backdrop(tmp_path):
    picture = save_mask(weights(), GREY, tmp_path / "deeper" / "m.npy")
    assert picture == tmp_path / "deeper" / "m.png"
    shown = np.asarray(Image.open(picture))
    assert shown.shape == (480, 480, 3)
    small = shown[30::60, 30::60].astype(int)
    assert np.array_equal(small.repeat(60, 0).repeat(60, 1), shown), "each mask pixel is a square"
    marked = weights() == 5
    assert (small[~marked] == 100).all()
    assert (small[marked][:, 0] > 100).all()
    assert (small[marked][:, 1:] < 100).all()


def test_a_weight_half_way_up_is_tinted_half_as_strongly(tmp_path):
    soft = weights()
    soft[4, 4] = 3
    shown = np.asarray(Image.open(save_mask(soft, GREY, tmp_path / "m.npy")))[30::60, 30::60, 0].astype(int)
    assert shown[4, 4] - 100 == pytest.approx((shown[2, 4] - 100) / 2, abs=1)


def test_a_mask_that_marks_nothing_leaves_the_backdrop_alone(tmp_path):
    picture = save_mask(np.ones((8, 8), np.float32), GREY, tmp_path / "m.npy")
    assert (np.asarray(Image.open(picture)) == 100).all()


def test_a_large_backdrop_is_not_shrunk(tmp_path):
    picture = save_mask(np.eye(600, dtype=np.float32), np.zeros((600, 600, 3), np.uint8), tmp_path / "m.npy")
    assert Image.open(picture).size == (600, 600)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("m.png", "must end in .npy"),
        ("m", "must end in .npy"),
        ("d.npy", "is a folder"),
        ("file/m.npy", "cannot write"),
    ],
)
def test_a_path_that_cannot_be_written_is_refused_by_name(tmp_path, name, says):
    (tmp_path / "d.npy").mkdir()
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(EnfaceError, match=says) as caught:
        save_mask(weights(), GREY, tmp_path / name)
    assert name.split("/")[0] in str(caught.value)
    assert not list(tmp_path.glob("**/*.png"))
