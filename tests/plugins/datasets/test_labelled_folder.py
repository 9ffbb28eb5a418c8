"""LabelledFolder: columns from file names, pixels of many file formats, errors that name the file."""

from __future__ import annotations

import os
import warnings

import numpy as np
import pytest
from PIL import Image

from enface import DataError, list_images, read_image
from enface_plugins.datasets.labelled_folder import LabelledFolder

PATTERN = r"(?P<identity>\d{3})/\d+_yaw(?P<pose>[+-]\d+)"


def put(path, size=(4, 3), colour=(200, 10, 30)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path)
    return path


def rows(root, pattern, **params):
    return list(LabelledFolder(root=root, pattern=pattern, **params).rows())


def test_groups_become_columns(tmp_path):
    for name in ("007/007_yaw+000.png", "007/007_yaw-045.png", "010/010_yaw+045.JPG", "2/.007_yaw+000.png"):
        put(tmp_path / name)
    (tmp_path / "notes.txt").write_text("not an image")
    assert rows(tmp_path, PATTERN) == [
        {"key": "007/007_yaw+000.png", "identity": "007", "pose": 0},
        {"key": "007/007_yaw-045.png", "identity": "007", "pose": -45},
        {"key": "010/010_yaw+045.JPG", "identity": "010", "pose": 45},
    ]


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (("1", "02"), [1, 2]),
        (("1", "2.5"), [1.0, 2.5]),
        (("1", "x"), ["1", "x"]),
        (("1", "nan"), ["1", "nan"]),
        (("1", ""), ["1", ""]),
        (("1", "1_0"), ["1", "1_0"]),
        (("1", "9" * 30), [1.0, 1e30]),
    ],
)
def test_kind_of_a_column(tmp_path, texts, expected):
    for index, text in enumerate(texts):
        put(tmp_path / f"{index}-{text}-.png")
    lights = [row["light"] for row in rows(tmp_path, r"^(?P<identity>\d+)-(?P<light>[^-]*)-")]
    assert lights == expected
    assert [type(light) for light in lights] == [type(value) for value in expected]


def test_optional_group_is_empty_text(tmp_path):
    put(tmp_path / "1.png")
    put(tmp_path / "1_left.png")
    assert [row["side"] for row in rows(tmp_path, r"(?P<identity>\d)(_(?P<side>\w+))?\.")] == ["", "left"]


def test_natural_order(tmp_path):
    for name in ("10.png", "9.png", "1.png"):
        put(tmp_path / name)
    assert [row["key"] for row in rows(tmp_path, r"(?P<identity>\d+)")] == ["1.png", "9.png", "10.png"]


def test_unmatched_images_are_skipped_with_a_warning(tmp_path):
    put(tmp_path / "1.png")
    put(tmp_path / "cover.png")
    with pytest.warns(UserWarning, match=r"1 of 2 images.*cover\.png"):
        assert len(rows(tmp_path, r"(?P<identity>\d)")) == 1


def test_extensions_may_be_chosen(tmp_path):
    put(tmp_path / "1.png")
    put(tmp_path / "2.bmp")
    for extensions in (("bmp",), (".BMP",)):
        assert [row["identity"] for row in rows(tmp_path, r"(?P<identity>\d)", extensions=extensions)] == ["2"]


def test_links_are_followed_but_not_in_cycles(tmp_path):
    put(tmp_path / "far" / "1.png")
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "near").symlink_to(tmp_path / "far")
    (tmp_path / "far" / "back").symlink_to(tmp_path / "root")
    assert list_images(tmp_path / "root") == ["near/1.png"]


# ------------------------------------------------------------------ mistakes


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("(?P<identity>", "not a regular expression"),
        (r"(?P<person>\d)", "no group"),
        (r"(?P<identity>\d)(?P<key>.)", "group name 'key' is reserved"),
        (r"(?P<identity>\d)(?P<target>.)", "group name 'target' is reserved"),
    ],
)
def test_bad_patterns(tmp_path, pattern, message):
    with pytest.raises(DataError, match=message):
        LabelledFolder(root=tmp_path, pattern=pattern)


def test_missing_folder_is_named(tmp_path):
    dataset = LabelledFolder(root=tmp_path / "nowhere", pattern=PATTERN)
    for ask in (lambda: list(dataset.rows()), dataset.fingerprint):
        with pytest.raises(DataError, match="nowhere does not exist"):
            ask()


def test_file_for_a_folder(tmp_path):
    with pytest.raises(DataError, match=r"1\.png is not a folder"):
        rows(put(tmp_path / "1.png"), PATTERN)


def test_folder_without_images(tmp_path):
    with pytest.raises(DataError, match=r"holds no image \(\.png, "):
        rows(tmp_path, PATTERN)


def test_no_match_reports_the_pattern_and_an_example(tmp_path):
    put(tmp_path / "anna.png")
    with pytest.raises(DataError) as caught:
        rows(tmp_path, PATTERN)
    assert repr(PATTERN) in str(caught.value)
    assert "anna.png" in str(caught.value)


@pytest.mark.parametrize("damage", ["cut", "empty", "text", "missing"])
def test_unreadable_image_is_named(tmp_path, damage):
    path = put(tmp_path / "1.png", (64, 64))
    if damage == "missing":
        path.unlink()
    else:
        content = {"cut": path.read_bytes()[:-40], "empty": b"", "text": b"no picture"}[damage]
        path.write_bytes(content)
    dataset = LabelledFolder(root=tmp_path, pattern=r"(?P<identity>\d)")
    with pytest.raises(DataError, match=r"1\.png cannot be read"):
        dataset.image({"key": "1.png"})


# ------------------------------------------------------------------ fingerprint


def test_fingerprint_follows_the_files(tmp_path):
    path = put(tmp_path / "1.png")

    def now():
        return LabelledFolder(root=tmp_path, pattern=r"(?P<identity>\d)").fingerprint()

    fingerprints = [now()]
    assert now() == fingerprints[0]
    os.utime(path, ns=(0, 5))
    fingerprints.append(now())
    put(tmp_path / "2.png")
    fingerprints.append(now())
    path.rename(tmp_path / "3.png")
    fingerprints.append(now())
    assert len(set(fingerprints)) == 4


# ------------------------------------------------------------------ pixels


def test_rgb_is_read_unchanged(tmp_path):
    image = read_image(put(tmp_path / "1.png"))
    assert image.dtype == np.uint8
    assert image.shape == (3, 4, 3)
    assert image[0, 0].tolist() == [200, 10, 30]


@pytest.mark.parametrize("ending", ["png", "tif"])
def test_sixteen_bit_grey_is_scaled(tmp_path, ending):
    values = np.array([[0, 128, 129, 257 * 100, 65535]], np.uint16)
    path = tmp_path / f"1.{ending}"
    Image.fromarray(values).save(path)
    image = read_image(path)
    assert image[0, :, 0].tolist() == [0, 0, 1, 100, 255]
    assert (image == image[..., :1]).all()


def test_floating_point_pixels_are_refused(tmp_path):
    path = tmp_path / "1.tif"
    Image.fromarray(np.ones((2, 2), np.float32)).save(path)
    with pytest.raises(DataError, match=r"1\.tif.*no known range"):
        read_image(path)


def test_orientation_is_applied(tmp_path):
    image = Image.new("RGB", (4, 2))
    image.putpixel((0, 0), (255, 255, 255))
    exif = Image.Exif()
    exif[0x0112] = 6  # Rotated camera: show the image a quarter turn clockwise.
    image.save(tmp_path / "1.png", exif=exif)
    upright = read_image(tmp_path / "1.png")
    assert upright.shape == (4, 2, 3)
    assert upright[0, 1].tolist() == [255, 255, 255]


def test_transparent_images_are_composited_over_black(tmp_path):
    pixels = np.array([[[200, 100, 50, 255], [200, 100, 50, 0], [200, 100, 50, 51]]], np.uint8)
    Image.fromarray(pixels).save(tmp_path / "1.png")
    assert read_image(tmp_path / "1.png")[0].tolist() == [[200, 100, 50], [0, 0, 0], [40, 20, 10]]


def test_palette_and_other_modes(tmp_path):
    indexed = Image.new("P", (2, 1), 1)
    indexed.putpalette([0, 0, 0, 9, 8, 7])
    indexed.save(tmp_path / "p.png")
    indexed.save(tmp_path / "hole.png", transparency=1)
    Image.new("1", (2, 1), 1).save(tmp_path / "bit.png")
    Image.new("CMYK", (8, 8)).save(tmp_path / "cmyk.jpg")
    first = {name: read_image(tmp_path / name)[0, 0].tolist() for name in os.listdir(tmp_path)}
    assert first == {
        "p.png": [9, 8, 7],
        "hole.png": [0, 0, 0],
        "bit.png": [255, 255, 255],
        "cmyk.jpg": [255, 255, 255],
    }


def test_valid_images_cause_no_warning(tmp_path):
    put(tmp_path / "1.png")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        rows(tmp_path, r"(?P<identity>\d)")
        read_image(tmp_path / "1.png")
