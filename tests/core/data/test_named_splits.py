"""Splits that the data itself names in a column ``split``."""

from __future__ import annotations

import pandas as pd
import pytest

from enface.data.pairs import split_rows
from enface.errors import DataError, RecipeError
from enface.recipe.load import load_mapping
from enface.recipe.models import SplitModel

# Ten people of two images: 0-5 train, 6-7 val, 8-9 test.
NAMES = ["train"] * 12 + ["val"] * 4 + ["test"] * 4
TABLE = pd.DataFrame(
    {"key": [f"k{row}" for row in range(20)], "identity": [str(row // 2) for row in range(20)], "split": NAMES}
)
ALL = ("train", "val", "test")


def plain(split):
    return {key: value for key, value in split.model_dump().items() if key != "where"}


def people(**split):
    parts = split_rows(TABLE, SplitModel(**split))
    return {name: sorted(set(TABLE["identity"].iloc[rows])) for name, rows in parts.items()}


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
    split = SplitModel(**given).over(names)
    assert plain(split) == {"by": "split", **expected}
    # As a run directory holds it, with every default.
    assert plain(SplitModel(**split.model_dump()).over(names)) == plain(split)


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
    with pytest.raises(ValueError, match=advice):
        SplitModel(**given).over(ALL)


def test_a_share_of_the_training_people_may_validate():
    # A third of the six training people, in natural order.
    expected = {"train": ["2", "3", "4", "5"], "val": ["0", "1"], "test": ["8", "9"]}
    assert people(by="split", train=["train"], val=1 / 3, test=["test"]) == expected
    assert people(by="split", train=["train"], val=2, test=["test"]) == expected
    with pytest.raises(DataError, match=r"data.split.train: is empty"):
        people(by="split", train=["train"], val=6, test=["test"])


def test_a_shuffled_share_of_the_training_people():
    chosen = set()
    for seed in range(8):
        parts = split_rows(TABLE, SplitModel(by="split", train=["train"], val=2, test=["test"], shuffle=True), seed)
        people = {name: set(TABLE["identity"].iloc[rows]) for name, rows in parts.items()}
        assert people["train"] | people["val"] == set("012345")
        assert len(people["val"]) == 2
        chosen.add(tuple(sorted(people["val"])))
    assert len(chosen) > 1


def test_a_person_in_two_named_splits_is_refused_by_name():
    table = TABLE.assign(identity=["same" if row in (3, 17) else str(row) for row in range(20)])
    with pytest.raises(DataError, match="1 identities are in both train and test: same"):
        split_rows(table, SplitModel().over(ALL))


def test_a_pack_that_names_splits_is_not_split_otherwise():
    with pytest.raises(DataError, match=r"names its splits; set {by: split"):
        split_rows(TABLE, SplitModel())


def test_another_column_of_that_name_is_no_split():
    table = TABLE.assign(split=["a"] * 10 + ["b"] * 10)
    assert len(split_rows(table, SplitModel())["test"]) == 4
    assert len(split_rows(table, SplitModel(by="split", train=1, val=0))["test"]) == 10


PLUGIN = """
import numpy as np
from enface import Dataset, hookimpl

class Named(Dataset):
    def __init__(self, *, names: tuple[str, ...] = ()): ...
    @classmethod
    def named_splits(cls, params): return params["names"]
    def rows(self): return []
    def image(self, row): return np.zeros((8, 8, 3), np.uint8)

@hookimpl
def components(): return [Named]
"""


def load(tmp_path, names, **split):
    (tmp_path / "plugin.py").write_text(PLUGIN)
    data = {"use": "named", "names": names, **({"split": split} if split else {})}
    stages = {"main": {"steps": 1, "terms": {"l1": {}}}}
    log = {"best": "mae"} if "val" in names else {}
    content = {"name": "n", "plugins": [str(tmp_path / "plugin.py")], "data": data, "generator": {"use": "unet"}}
    return load_mapping({**content, "stages": stages, "metrics": ["mae"], "log": log}).recipe


def test_a_loaded_recipe_has_the_named_splits(tmp_path):
    assert load(tmp_path, ["train", "val", "test"]).data.split.val == ["val"]
    assert load(tmp_path, []).data.split.by == "identity"


def test_a_loaded_recipe_that_contradicts_them_names_the_key(tmp_path):
    with pytest.raises(RecipeError, match=r"data.split: contradicts the splits that the data names \(train, test\)"):
        load(tmp_path, ["train", "test"], train=0.5)
