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


def people(**split):
    parts = split_rows(TABLE, SplitModel(**split))
    return {name: sorted(set(TABLE["identity"].iloc[rows])) for name, rows in parts.items()}


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
        split_rows(table, SplitModel(by="split", train=["train"], val=["val"], test=["test"]))


def test_a_pack_that_names_splits_is_not_split_otherwise():
    with pytest.raises(DataError, match=r"names its splits; set {by: split"):
        split_rows(TABLE, SplitModel())


def test_another_column_of_that_name_is_no_split():
    table = TABLE.assign(split=["a"] * 10 + ["b"] * 10)
    assert len(split_rows(table, SplitModel())["test"]) == 4
    assert len(split_rows(table, SplitModel(by="split", train=1, val=0))["test"]) == 10


PLUGIN = """
import numpy as np
from enface import DataError, Dataset, hookimpl

class Named(Dataset):
    @classmethod
    def split(cls, params, given):
        if "train" in given:
            raise DataError("contradicts the data")
        return {"by": "split", "train": ["train"], "val": ["val"], **given}
    def rows(self): return []
    def image(self, row): return np.zeros((8, 8, 3), np.uint8)

@hookimpl
def components(): return [Named]
"""


def load(tmp_path, **split):
    (tmp_path / "plugin.py").write_text(PLUGIN)
    data = {"use": "named", **({"split": split} if split else {})}
    content = {"name": "n", "plugins": [str(tmp_path / "plugin.py")], "data": data, "generator": {"use": "unet"}}
    # The best checkpoint needs validation images, which only the data defines.
    more = {"stages": {"main": {"steps": 1, "terms": {"l1": {}}}}, "metrics": ["mae"], "log": {"best": "mae"}}
    return load_mapping({**content, **more}).recipe


def test_a_dataset_may_define_the_split(tmp_path):
    split = load(tmp_path, test=["test"]).data.split
    assert (split.by, split.train, split.val, split.test) == ("split", ["train"], ["val"], ["test"])


def test_a_split_that_contradicts_the_data_names_the_key(tmp_path):
    with pytest.raises(RecipeError, match=r"data.split: contradicts the data"):
        load(tmp_path, train=0.5)
