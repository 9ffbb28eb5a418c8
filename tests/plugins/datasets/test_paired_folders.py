"""PairedFolders: two folders matched by name, or two halves of one image."""

from __future__ import annotations

import os
import warnings

import numpy as np
import pytest
from PIL import Image

from enface import DataError
from enface_plugins.datasets.paired_folders import PairedFolders

RED, BLUE = (255, 0, 0), (0, 0, 255)


def put(path, colour=RED, size=(4, 4)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path)
    return path


def put_halves(path, width=8):
    pixels = np.zeros((4, width, 3), np.uint8)
    pixels[:, : width // 2], pixels[:, width // 2 :] = RED, BLUE
    Image.fromarray(pixels).save(path)


def test_folders_are_matched_by_stem(tmp_path):
    for stem in ("10", "9", "sub/a"):
        put(tmp_path / "source" / f"{stem}.png", RED)
        put(tmp_path / "target" / f"{stem}.bmp", BLUE)
    dataset = PairedFolders(root=tmp_path)
    rows = list(dataset.rows())
    assert [row["identity"] for row in rows] == ["9", "9", "10", "10", "sub/a", "sub/a"]
    assert [row["role"] for row in rows] == ["source", "target"] * 3
    assert rows[5]["key"] == "target/sub/a.bmp"
    assert len({row["key"] for row in rows}) == 6
    for row in rows:
        colour = RED if row["role"] == "source" else BLUE
        assert dataset.image(row)[0, 0].tolist() == list(colour)


def test_folder_names_may_be_chosen(tmp_path):
    put(tmp_path / "profile" / "a.png")
    put(tmp_path / "front" / "a.png", BLUE)
    dataset = PairedFolders(root=tmp_path, source="profile", target="front")
    assert [dataset.image(row)[0, 0].tolist() for row in dataset.rows()] == [list(RED), list(BLUE)]


def test_first_ten_without_counterpart_are_listed(tmp_path):
    put(tmp_path / "source" / "both.png")
    put(tmp_path / "target" / "both.png")
    put(tmp_path / "target" / "lonely.png")
    for index in range(12):
        put(tmp_path / "source" / f"{index}.png")
    with pytest.raises(DataError) as caught:
        list(PairedFolders(root=tmp_path).rows())
    text = str(caught.value)
    assert "12 images in" in text
    assert "8.png, 9.png and 2 more" in text
    assert "10.png" not in text
    assert "lonely.png" in text


def test_two_files_of_one_stem(tmp_path):
    for ending in ("png", "bmp"):
        put(tmp_path / "source" / f"a.{ending}")
    put(tmp_path / "target" / "a.png")
    with pytest.raises(DataError, match=r"a\.bmp and a\.png"):
        list(PairedFolders(root=tmp_path).rows())


def test_missing_or_same_folder(tmp_path):
    put(tmp_path / "source" / "a.png")
    with pytest.raises(DataError, match="target does not exist"):
        PairedFolders(root=tmp_path).fingerprint()
    with pytest.raises(DataError, match="are the same folder"):
        list(PairedFolders(root=tmp_path, target="source").rows())


@pytest.mark.parametrize(("side", "source"), [("left", RED), ("right", BLUE)])
def test_halves(tmp_path, side, source):
    put_halves(tmp_path / "a.png")
    dataset = PairedFolders(root=tmp_path, layout="side_by_side", source_side=side)
    first, second = dataset.rows()
    assert (first["identity"], first["role"], second["role"]) == ("a", "source", "target")
    assert first["key"] != second["key"]
    assert dataset.image(first).shape == (4, 4, 3)
    assert (dataset.image(first) == source).all()
    assert not (dataset.image(second) == source).all()


def test_odd_width_is_named(tmp_path):
    put_halves(tmp_path / "odd.png", 7)
    dataset = PairedFolders(root=tmp_path, layout="side_by_side")
    with pytest.raises(DataError, match=r"odd\.png is 7 pixels wide"):
        dataset.image(next(iter(dataset.rows())))


@pytest.mark.parametrize("layout", ["folders", "side_by_side"])
def test_fingerprint_follows_the_files(tmp_path, layout):
    put(tmp_path / "source" / "a.png")
    target = put(tmp_path / "target" / "a.png")
    root = tmp_path if layout == "folders" else tmp_path / "target"
    before = PairedFolders(root=root, layout=layout).fingerprint()
    assert PairedFolders(root=root, layout=layout).fingerprint() == before
    os.utime(target, ns=(0, 5))
    assert PairedFolders(root=root, layout=layout).fingerprint() != before


def test_images_of_16_bits_that_are_rounded_to_8_are_named(tmp_path):
    for number in range(3):
        put(tmp_path / "source" / f"{number}.png")
        put(tmp_path / "target" / f"{number}.png")
    deep = tmp_path / "source" / "1.png"
    Image.fromarray(np.full((4, 4), 300, np.uint16)).save(deep)
    dataset = PairedFolders(root=tmp_path)
    with pytest.warns(UserWarning, match=f"1 of 3 examined images have 16 bits, such as {deep}, and are rounded to 8"):
        dataset.fingerprint()
    dataset.depth = 16
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dataset.fingerprint()
