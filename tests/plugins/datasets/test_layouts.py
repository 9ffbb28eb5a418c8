"""Layouts of folders: what is recognised, with and without folders that name splits."""

from __future__ import annotations

import re

import numpy as np
import pytest
from PIL import Image

from enface import DataError
from enface_plugins.datasets.layouts import recognise
from enface_plugins.datasets.people import name_groups
from enface_plugins.datasets.splits import split_named


def put(root, *names, size=(4, 4)):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", size, (200, 10, 10)).save(path)


TRAIN, TEST = ("1.png", "2.png", "3.png"), ("1.png", "4.png")


@pytest.mark.parametrize(
    ("folders", "source", "target"),
    [
        (("train/source", "train/target", "test/source", "test/target"), "source", "target"),
        (("source/Train", "target/Train", "source/TEST", "target/TEST"), "source", "target"),
        (("train/A", "train/B", "test/A", "test/B"), "A", "B"),
        (("A/train", "B/train", "A/test", "B/test"), "A", "B"),
        (("trainA", "trainB", "testA", "testB"), "A", "B"),
        (("train_lq", "train_gt", "test_lq", "test_gt"), "lq", "gt"),
        (("train/HR", "train/LR", "test/HR", "test/LR"), "LR", "HR"),
    ],
)
def test_folders_with_splits(tmp_path, folders, source, target):
    for folder in folders:
        put(tmp_path / folder, *(TEST if "test" in folder.lower() else TRAIN))
    layout = recognise(tmp_path)
    assert (layout.kind, layout.source, layout.target) == ("folders", source, target)
    assert (layout.splits, layout.pairs) == ({"train": 3, "test": 2}, 5)
    assert not layout.doubt


def test_folders_without_splits(tmp_path):
    put(tmp_path / "A", "a.png", "b.png", "lonely.png")
    put(tmp_path / "B", "a.jpg", "b.jpg")
    layout = recognise(tmp_path)
    assert (layout.kind, layout.pairs, layout.splits) == ("folders", 2, {})
    assert layout.data == {"use": "paired_folders", "root": str(tmp_path), "source": "A", "target": "B"}


def test_two_folders_of_unknown_names_are_a_guess(tmp_path):
    put(tmp_path / "sketches", "a.png", "b.png")
    put(tmp_path / "photos", "a.png", "b.png")
    layout = recognise(tmp_path)
    assert (layout.source, layout.target) == ("photos", "sketches")
    assert "photos was taken for the folder of sources" in layout.doubt


@pytest.mark.parametrize("validation", ["val", "validation", "Valid", "dev"])
def test_side_by_side_with_splits(tmp_path, validation):
    put(tmp_path, *(f"train/{name}" for name in TRAIN), f"{validation}/1.png", "test/1.png", size=(8, 4))
    layout = recognise(tmp_path)
    assert (layout.kind, layout.splits, layout.pairs) == ("side_by_side", {"train": 3, "val": 1, "test": 1}, 5)
    assert layout.data == {"use": "paired_folders", "root": str(tmp_path), "layout": "side_by_side"}


def test_side_by_side_of_other_shapes_by_the_edge_in_the_middle(tmp_path):
    noise = np.random.default_rng(0).integers(0, 20, (20, 6, 30, 3))
    halves = np.where(np.arange(30)[:, None] < 15, 40, 200) + noise
    for folder, images in (("pairs", halves), ("photos", 100 + noise), ("odd", halves[:, :, 1:])):
        (tmp_path / folder).mkdir()
        for number, image in enumerate(images):
            Image.fromarray(image.astype(np.uint8)).save(tmp_path / folder / f"{number}.png")
    layout = recognise(tmp_path / "pairs")
    assert (layout.kind, layout.pairs) == ("side_by_side", 20)
    assert layout.doubt.startswith("images have an edge in the middle")
    for folder in ("photos", "odd"):
        with pytest.raises(DataError, match="is not recognised"):
            recognise(tmp_path / folder)


def test_side_by_side_suggests_the_person(tmp_path):
    put(tmp_path, "007_01.png", "007_02.png", "008_01.png", "008_02.png", size=(8, 4))
    layout = recognise(tmp_path)
    assert (layout.kind, layout.identity, layout.people) == ("side_by_side", r"^(?P<identity>\d+)", 2)
    assert layout.data["identity"] == layout.identity


@pytest.mark.parametrize("splits", [False, True])
def test_labelled(tmp_path, splits):
    for person in ("007", "ann"):
        folder = tmp_path / ("test" if person == "ann" else "train") if splits else tmp_path
        put(folder, *(f"{person}/{person}_yaw{yaw:+04}_light{light}.png" for yaw in (-45, 0) for light in (1, 2)))
    layout = recognise(tmp_path)
    assert (layout.kind, layout.pairs, layout.people, layout.doubt) == ("labelled", 8, 2, "")
    assert layout.splits == ({"train": 4, "test": 4} if splits else {})
    match = re.search(layout.pattern, "ann/ann_yaw-045_light2.png")
    assert match.groupdict() == {"identity": "ann", "pose": "-045", "light": "2"}


def test_labelled_without_a_frontal_view_is_doubted(tmp_path):
    put(tmp_path, *(f"{person}_yaw{yaw}.png" for person in "ab" for yaw in (15, 30)))
    assert "2 of 2 people have no image at pose 0" in recognise(tmp_path).doubt


@pytest.mark.parametrize("splits", [False, True])
def test_multipie(tmp_path, splits):
    folders = ("train/", "test/") if splits else ("", "")
    put(
        tmp_path,
        *(f"{folders[person]}00{person}_01_01_{camera}_07.png" for person in (0, 1) for camera in ("051", "130")),
    )
    layout = recognise(tmp_path)
    assert (layout.kind, layout.pairs, layout.people) == ("multipie", 4, 2)
    assert layout.splits == ({"train": 2, "test": 2} if splits else {})


def test_unknown_layout_lists_the_known_ones(tmp_path):
    put(tmp_path, "a.png", "b.png")
    with pytest.raises(DataError, match=r"2 images is not recognised \(the first is 'a.png'\).*side by side"):
        recognise(tmp_path)


def test_different_splits_of_the_roles_are_named(tmp_path):
    put(tmp_path, "source/train/a.png", "source/test/b.png", "target/train/a.png")
    with pytest.raises(DataError, match=r"sources: source/train, source/test; targets: target/train"):
        recognise(tmp_path)


def test_names_of_splits():
    assert [split_named(name) for name in ("Train", "DEV", "validation", "testing", "trains", "gallery")] == [
        *("train", "val", "val", "test", None, None)
    ]


@pytest.mark.parametrize(
    ("names", "people"),
    [
        (("007_01", "007_02", "008_01", "008_02"), ["007", "007", "008", "008"]),
        (("person1_a", "person1_b", "person2_a"), ["person1", "person1", "person2"]),
        (("img_ann_1", "img_ann_2", "img_bob_1"), ["img_ann", "img_ann", "img_bob"]),
        (("ann/1", "ann/2", "bob/7"), ["ann", "ann", "bob"]),
        (("ann1", "ann2", "bob1", "bob2"), ["ann", "ann", "bob", "bob"]),
        (("s 1.a", "s 1.b", "s 2.a"), ["s 1", "s 1", "s 2"]),
        (("001_01_051", "001_02_051", "002_01_051"), ["001", "001", "002"]),
    ],
)
def test_grouped_names(names, people):
    groups = name_groups(names)
    assert [re.search(groups.pattern, name)["identity"] for name in names] == people
    assert groups.groups == len(set(people))
    assert groups.example == names[:2]


@pytest.mark.parametrize(
    "names",
    [
        ("1", "2", "3"),
        ("img0001", "img0002", "img0003"),
        ("cmp_b0001", "cmp_b0002"),
        ("1_AB", "2_AB", "3_AB"),
        ("train_1", "train_2", "test_1", "test_2"),
        ("a_1", "a_2", "b", "c", "d"),
        ("a",),
    ],
)
def test_names_that_do_not_look_grouped(names):
    assert name_groups(names) is None
