"""Folders that name splits, and people in names: rows, recipes and pairing."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from enface import DataError, RecipeError
from enface.data.pairs import Pairs, split_rows
from enface.recipe.load import load_mapping
from enface.recipe.models import PairsModel, SplitModel
from enface_plugins.datasets.labelled_folder import LabelledFolder
from enface_plugins.datasets.multipie import Multipie
from enface_plugins.datasets.paired_folders import PairedFolders
from enface_plugins.datasets.splits import split_over

pytestmark = pytest.mark.filterwarnings("error")


def put(root, *names, size=(4, 4), colour=(200, 10, 10)):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", size, colour).save(path)


def recipe(use, root, **data):
    content = {"name": "n", "data": {"use": use, "root": str(root), **data}, "generator": {"use": "unet"}}
    return load_mapping({**content, "stages": {"main": {"steps": 1, "terms": {"l1": {}}}}}).recipe


def splits_of(dataset):
    return {row["key"]: row["split"] for row in dataset.rows()}


ALL = ("train", "val", "test")


@pytest.mark.parametrize(
    ("given", "names", "expected"),
    [
        ({}, ALL, {"train": ["train"], "val": ["val"], "test": ["test"]}),
        ({}, ("train", "test"), {"train": ["train"], "val": [], "test": ["test"]}),
        ({}, ("train", "val"), {"train": ["train"], "val": [], "test": ["val"]}),
        ({"val": 0.1}, ("train", "test"), {"train": ["train"], "val": 0.1, "test": ["test"]}),
        ({"val": 3}, ("train", "val"), {"train": ["train"], "val": 3, "test": ["val"]}),
        ({"val": 0}, ALL, {"train": ["train"], "val": 0, "test": ["test"]}),
        ({"by": "split"}, ALL, {"train": ["train"], "val": ["val"], "test": ["test"]}),
        (
            {"by": "split", "train": ["train", "val"], "val": []},
            ALL,
            {"train": ["train", "val"], "val": [], "test": ["test"]},
        ),
    ],
)
def test_a_recipe_follows_the_names(given, names, expected):
    with warnings.catch_warnings(action="ignore"):
        split = split_over(names, given)
    assert split == {"by": "split", **expected}
    # As a run directory holds it, with every default.
    dumped = SplitModel(**split).model_dump()
    assert split_over(names, dumped) == dumped


@pytest.mark.parametrize(
    "given",
    [
        {"train": 0.8},
        {"test": 0.1},
        {"by": "identity"},
        {"by": "identity", "train": 4, "val": 2, "test": 2},
        {"val": 0.1},
        {"by": "split", "train": ["train", "test"], "test": ["val"], "val": []},
        {"by": "split", "train": ["train", "val"]},
        {"by": "split", "train": ["val"], "val": []},
        {"by": "split", "val": ["test"], "test": ["val"]},
        {"by": "split", "test": []},
        {"by": "split", "test": ["train"]},
    ],
)
def test_a_contradiction_is_refused_with_what_to_write(given):
    advice = (
        r"\(train, val, test\); remove data.split, or write {by: split, train: \[train\], val: \[val\], test: \[test\]}"
    )
    with pytest.raises(DataError, match=advice):
        split_over(ALL, given)


def test_one_name_defines_no_split():
    assert split_over(["train"], {"train": 0.5}) == {"train": 0.5}


def test_val_is_held_out_without_test_and_says_so():
    with pytest.warns(UserWarning, match="names no test split, so val is held out"):
        split = split_over(["val", "train"], {})
    assert split["test"] == ["val"]
    # The resolved split is silent.
    assert split_over(["val", "train"], split) == split


AROUND = ("train/A", "train/B", "VAL/A", "VAL/B", "test/A", "test/B")
INSIDE = ("A/Train", "B/Train", "A/validation", "B/validation", "A/test", "B/test")
JOINED = ("trainA", "trainB", "valA", "valB", "testA", "testB")


@pytest.mark.parametrize("folders", [AROUND, INSIDE, JOINED])
def test_paired_folders_take_the_split_from_folders(tmp_path, folders):
    # The same names in each split are other pairs: numbering often restarts.
    for place, folder in enumerate(folders):
        put(tmp_path / folder, "1.png", "2.png", colour=(place, 0, 0))
    dataset = PairedFolders(root=tmp_path, source="A", target="B")
    rows = list(dataset.rows())
    assert [row["split"] for row in rows] == ["train"] * 4 + ["val"] * 4 + ["test"] * 4
    assert [row["pair"] for row in rows[::2]] == ["train/1", "train/2", "val/1", "val/2", "test/1", "test/2"]
    assert [row["identity"] for row in rows] == [row["pair"] for row in rows]
    assert len({row["key"] for row in rows}) == 12
    # The colour tells the folder: sources and targets of train, val and test.
    assert [int(dataset.image(row)[0, 0, 0]) for row in rows] == [0, 1, 0, 1, 2, 3, 2, 3, 4, 5, 4, 5]
    split = recipe("paired_folders", tmp_path, source="A", target="B").data.split
    assert (split.by, split.train, split.val, split.test) == ("split", ["train"], ["val"], ["test"])


def test_halves_take_the_split_from_folders(tmp_path):
    for place, folder in enumerate(("train", "Test")):
        put(tmp_path / folder, "a.png", "sub/b.png", size=(8, 4), colour=(place, 0, 0))
    dataset = PairedFolders(root=tmp_path, layout="side_by_side")
    rows = list(dataset.rows())
    assert [row["pair"] for row in rows[::2]] == ["train/a", "train/sub/b", "test/a", "test/sub/b"]
    assert [int(dataset.image(row)[0, 0, 0]) for row in rows[::2]] == [0, 0, 1, 1]
    assert dataset.image(rows[0]).shape == (4, 4, 3)
    split = recipe("paired_folders", tmp_path, layout="side_by_side", split={"val": 0.5}).data.split
    assert (split.by, split.train, split.val, split.test) == ("split", ["train"], 0.5, ["test"])


def test_folders_without_splits_keep_names_and_keys(tmp_path):
    put(tmp_path, "source/train/a.png", "target/train/a.png", "source/b.png", "target/b.png")
    rows = list(PairedFolders(root=tmp_path).rows())
    assert rows[0] == {"key": "source/b.png", "identity": "b", "pair": "b", "role": "source"}
    assert [row["identity"] for row in rows[2:]] == ["train/a", "train/a"]
    assert recipe("paired_folders", tmp_path).data.split.by == "identity"


def test_train_folders_alone_name_no_split(tmp_path):
    put(tmp_path, "trainA/a.png", "trainB/a.png")
    assert [row["key"] for row in PairedFolders(root=tmp_path, source="A", target="B").rows()] == [
        *("source/a.png", "target/a.png")
    ]


def test_images_beside_the_split_folders_are_reported(tmp_path):
    put(tmp_path, "train/a.png", "test/b.png", "other/c.png", "d.png", size=(8, 4))
    with pytest.warns(UserWarning, match=r"2 images in .* are outside its split folders \(test, train\)"):
        rows = list(PairedFolders(root=tmp_path, layout="side_by_side").rows())
    assert {row["pair"] for row in rows} == {"train/a", "test/b"}


@pytest.mark.parametrize(
    ("names", "says"),
    [
        (("train/a.png", "val/b.png", "dev/c.png"), "dev and val both stand for val"),
        (("test/a.png", "val/b.png"), "val and test and no train"),
    ],
)
def test_unclear_split_folders_are_refused(tmp_path, names, says):
    put(tmp_path, *names, size=(8, 4))
    with pytest.raises(RecipeError, match=says):
        recipe("paired_folders", tmp_path, layout="side_by_side")


def test_two_ways_to_name_splits_are_refused(tmp_path):
    put(tmp_path, "train/A/a.png", "train/B/a.png", "testA/a.png", "testB/a.png")
    with pytest.raises(DataError, match="in more than one way"):
        list(PairedFolders(root=tmp_path, source="A", target="B").rows())


@pytest.mark.parametrize("split", [{"train": 0.8}, {"train": 2, "test": 1}, {"by": "identity"}, {"by": "pair"}])
def test_a_recipe_that_contradicts_the_folders_is_refused(tmp_path, split):
    put(tmp_path, "trainA/a.png", "trainB/a.png", "testA/b.png", "testB/b.png")
    with pytest.raises(RecipeError, match=r"\(train, test\); remove data.split, or write {by: split, train: \[train\]"):
        recipe("paired_folders", tmp_path, source="A", target="B", split=split)


def test_missing_folders_suggest_the_layout(tmp_path):
    put(tmp_path, "trainA/a.png", "trainB/a.png", "testA/b.png", "testB/b.png")
    with pytest.raises(
        DataError, match=r"source does not exist; .* looks like use: paired_folders, source: A, target: B"
    ):
        list(PairedFolders(root=tmp_path).rows())


# ------------------------------------------------------------------ people


def test_a_pattern_names_the_person_and_pairs_stay_together(tmp_path):
    names = ("007_1.png", "007_2.png", "008_1.png", "008_2.png")
    for place, name in enumerate(names):
        put(tmp_path / "source", name, colour=(place, 0, 0))
        put(tmp_path / "target", name, colour=(place, 0, 0))
    dataset = PairedFolders(root=tmp_path, identity=r"^(?P<identity>\d+)_")
    table = pd.DataFrame(dataset.rows())
    assert table["identity"].tolist() == ["007"] * 4 + ["008"] * 4
    pairs = Pairs(table, np.arange(8), PairsModel.model_validate(PairedFolders.pairs))
    rng = np.random.default_rng(0)
    for _ in range(20):
        rows = pairs.draw(pairs.sources, rng)
        drawn = table["key"].iloc[rows["target"]].tolist()
        assert drawn == [f"target/{name}" for name in names]


def test_a_name_without_person_is_refused(tmp_path):
    put(tmp_path, "source/007_1.png", "source/x.png", "target/007_1.png", "target/x.png")
    with pytest.raises(DataError, match=r"data.identity: .* does not match 1 of 2 names in .*: x; extend it"):
        list(PairedFolders(root=tmp_path, identity=r"(?P<identity>\d+)").rows())


@pytest.mark.parametrize(("pattern", "says"), [("(", "no.*regular expression|not a regular"), (r"\d+", "no group")])
def test_an_invalid_pattern_names_its_key(tmp_path, pattern, says):
    with pytest.raises(DataError, match=rf"data.identity: .*({says})"):
        PairedFolders(root=tmp_path, identity=pattern)


def test_a_person_in_two_named_splits_is_refused_by_name(tmp_path):
    put(tmp_path, "train/007_1.png", "train/008_1.png", "test/007_2.png", size=(8, 4))
    dataset = PairedFolders(root=tmp_path, layout="side_by_side", identity=r"^(?P<identity>\d+)_")
    split = recipe("paired_folders", tmp_path, layout="side_by_side", identity=r"^(?P<identity>\d+)_").data.split
    with pytest.raises(DataError, match="1 identities are in both train and test: 007"):
        split_rows(pd.DataFrame(dataset.rows()), split)


def test_names_that_look_grouped_are_reported_with_a_pattern(tmp_path):
    names = ("person1_a.png", "person1_b.png", "person2_a.png", "person2_b.png")
    put(tmp_path, *names, size=(8, 4))
    with pytest.warns(
        UserWarning, match=r"such as person1_a and person1_b.*data.identity: '\^\(\?P<identity>\[\^_\]\+\)'"
    ):
        rows = list(PairedFolders(root=tmp_path, layout="side_by_side").rows())
    assert len({row["identity"] for row in rows}) == 4
    # With the pattern that was suggested, and with the one that keeps each pair apart, nothing is reported.
    for pattern, people in ((r"^(?P<identity>[^_]+)", 2), ("(?P<identity>.+)", 4)):
        with warnings.catch_warnings(action="error"):
            rows = list(PairedFolders(root=tmp_path, layout="side_by_side", identity=pattern).rows())
        assert len({row["identity"] for row in rows}) == people


# ------------------------------------------------------------------ labelled images


def test_labelled_folder_takes_the_split_from_top_folders(tmp_path):
    put(tmp_path, "Train/a_1.png", "Train/b_0.png", "testing/c_0.png")
    pattern = r"(?P<identity>[a-z])_(?P<pose>\d)"
    assert splits_of(LabelledFolder(root=tmp_path, pattern=pattern)) == {
        **{"Train/a_1.png": "train", "Train/b_0.png": "train"},
        "testing/c_0.png": "test",
    }
    split = recipe("labelled_folder", tmp_path, pattern=pattern).data.split
    assert (split.by, split.train, split.val, split.test) == ("split", ["train"], [], ["test"])
    with pytest.raises(RecipeError, match="contradicts the splits that the data names"):
        recipe("labelled_folder", tmp_path, pattern=pattern, split={"train": 2, "test": 1})


def test_a_group_split_finds_them_elsewhere(tmp_path):
    put(tmp_path, "a/training/0.png", "b/dev/0.png", "c/test/0.png", "notes/logo.png")
    pattern = r"(?P<identity>\w)/(?P<split>\w+)/(?P<pose>\d)"
    with pytest.warns(UserWarning, match="1 of 4 images"):
        assert list(splits_of(LabelledFolder(root=tmp_path, pattern=pattern)).values()) == ["train", "val", "test"]
    split = recipe("labelled_folder", tmp_path, pattern=pattern).data.split
    assert (split.by, split.train, split.val, split.test) == ("split", ["train"], ["val"], ["test"])


def test_an_unknown_split_is_named(tmp_path):
    put(tmp_path, "a/train/0.png", "b/gallery/0.png")
    dataset = LabelledFolder(root=tmp_path, pattern=r"(?P<identity>\w)/(?P<split>\w+)/")
    with pytest.raises(DataError, match=r"'gallery' in 'b/gallery/0\.png', which names no split"):
        list(dataset.rows())


def test_multipie_takes_the_split_from_top_folders(tmp_path):
    put(tmp_path, "train/001_01_01_051_07.png", "val/002_01_01_051_07.png", "test/003_01_01_051_07.png")
    assert list(splits_of(Multipie(root=tmp_path)).values()) == ["test", "train", "val"]
    assert recipe("multipie", tmp_path).data.split.by == "split"
    with pytest.raises(RecipeError, match="contradicts the splits that the data names"):
        recipe("multipie", tmp_path, split="first_200")
