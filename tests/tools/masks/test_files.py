"""A mask's file and the picture beside it."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from enface.errors import EnfaceError
from enface_tools.masks.files import save_mask

GREY = np.full((8, 8, 3), 100, np.uint8)


def weights(marked: float = 5.0, unmarked: float = 1.0) -> np.ndarray:
    made = np.full((8, 8), unmarked, np.float32)
    made[2, 3:6] = marked
    return made


def test_whole_numbers_are_stored_in_a_byte_each(tmp_path):
    save_mask(weights(), GREY, tmp_path / "m.npy")
    found = np.load(tmp_path / "m.npy")
    assert found.dtype == np.int8
    assert np.array_equal(found, weights())


@pytest.mark.parametrize("marked", [2.5, 128.0, 1e-3])
def test_what_a_byte_cannot_hold_is_stored_as_it_is(tmp_path, marked):
    save_mask(weights(marked, 0), GREY, tmp_path / "m.npy")
    found = np.load(tmp_path / "m.npy")
    assert found.dtype == np.float32
    assert np.array_equal(found, weights(marked, 0))


def test_the_picture_shows_the_marks_over_the_backdrop(tmp_path):
    picture = save_mask(weights(), GREY, tmp_path / "deeper" / "m.npy")
    assert picture == tmp_path / "deeper" / "m.png"
    shown = np.asarray(Image.open(picture))
    assert shown.shape == (480, 480, 3)
    small = shown[30::60, 30::60].astype(int)
    assert np.array_equal(small.repeat(60, 0).repeat(60, 1), shown), "a square a pixel"
    marked = weights() == 5
    assert (small[~marked] == 100).all()
    assert (small[marked][:, 0] > 100).all()
    assert (small[marked][:, 1:] < 100).all()


def test_a_weight_half_way_up_is_tinted_half_as_much(tmp_path):
    soft = weights()
    soft[4, 4] = 3
    shown = np.asarray(Image.open(save_mask(soft, GREY, tmp_path / "m.npy")))[30::60, 30::60, 0].astype(int)
    assert shown[4, 4] - 100 == pytest.approx((shown[2, 4] - 100) / 2, abs=1)


def test_a_mask_that_marks_nothing_leaves_the_backdrop_alone(tmp_path):
    picture = save_mask(np.ones((8, 8), np.float32), GREY, tmp_path / "m.npy")
    assert (np.asarray(Image.open(picture)) == 100).all()


def test_a_large_backdrop_is_not_made_smaller(tmp_path):
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
def test_what_cannot_be_written_is_refused_naming_it(tmp_path, name, says):
    (tmp_path / "d.npy").mkdir()
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(EnfaceError, match=says) as caught:
        save_mask(weights(), GREY, tmp_path / name)
    assert name.split("/")[0] in str(caught.value)
    assert not list(tmp_path.glob("**/*.png"))
