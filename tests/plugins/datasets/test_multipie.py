"""Multi-PIE by its file names, on a synthetic folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from enface import DataError
from enface.data.pairs import Pairs, split_rows
from enface.errors import RecipeError
from enface.recipe.load import load_recipe
from enface.recipe.models import PairsModel
from enface_plugins.datasets import multipie
from enface_plugins.datasets.multipie import SEED_CAMERAS, YAW, Multipie


def make(folder: Path, identities=("001", "002"), cameras=tuple(YAW), lights=(0, 7), layout="{name}.png") -> Path:
    for identity in identities:
        for camera in cameras:
            for light in lights:
                name = f"{identity}_01_01_{camera}_{light:02}"
                path = folder / layout.format(name=name, identity=identity, camera=camera)
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(np.full((8, 8, 3), light * 10, np.uint8)).save(path)
    return folder


def test_yaws_are_those_of_the_database():
    assert list(YAW.values()) == list(range(-90, 91, 15))
    assert {YAW[camera] for camera in SEED_CAMERAS} == set(range(-60, 61, 15))
    assert (YAW["051"], YAW["090"], YAW["200"], YAW["240"]) == (0, -60, 60, 90)


@pytest.mark.parametrize(
    "layout", ["{name}.png", "{name}_crop_128.jpg", "session01/multiview/{identity}/01/{camera}/{name}.bmp"]
)
def test_flat_crops_and_the_databases_folders_give_the_same_columns(tmp_path, layout):
    rows = list(Multipie(root=make(tmp_path, layout=layout)).rows())
    assert len(rows) == 2 * 9 * 2
    row = next(row for row in rows if row["identity"] == "002" and row["camera"] == "190" and row["light"] == 7)
    assert (row["session"], row["recording"], row["pose"]) == ("01", "01", 45)


def test_cameras_and_recordings_select(tmp_path):
    make(tmp_path)
    assert {row["pose"] for row in Multipie(root=tmp_path, cameras=("051", "240")).rows()} == {0, 90}
    with pytest.raises(DataError, match="no image in"):
        list(Multipie(root=tmp_path, recordings=("02",)).rows())


def test_other_files_are_ignored(tmp_path):
    make(tmp_path)
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / "contact-sheet.png")
    assert len(list(Multipie(root=tmp_path).rows())) == 36


def test_missing_frontal_views_are_named(tmp_path):
    make(tmp_path)
    make(tmp_path, identities=("003",), cameras=("050",))
    with pytest.raises(DataError, match=r"1 identities .* no image of the frontal camera 051: 003"):
        list(Multipie(root=tmp_path).rows())
    with pytest.raises(DataError, match="must include the frontal camera 051"):
        Multipie(root=tmp_path, cameras=("050",))


def test_a_neighbour_is_one_step_away_in_yaw_not_in_the_order_of_cameras(tmp_path):
    table = pd.DataFrame(list(Multipie(root=make(tmp_path)).rows()))
    pairs = Pairs(table, np.arange(len(table)), PairsModel.model_validate(Multipie.pairs))
    rng = np.random.default_rng(0)
    sources = np.repeat(np.arange(len(table)), 200)
    drawn = pairs.draw(sources, rng)
    source, partner, target = (
        table.iloc[drawn[role]].reset_index(drop=True) for role in ("source", "partner", "target")
    )
    assert (target["pose"] == 0).all()
    assert (target["identity"] == source["identity"]).all()
    lights = target["light"].value_counts(normalize=True)
    assert lights[0] == pytest.approx(0.5, abs=0.02)
    near = (
        ((partner["pose"] - source["pose"]).abs() == 15)
        & (partner["identity"] == source["identity"])
        & (partner["light"] == source["light"])
    )
    # Half the time by rule, and of any 36 images one or two are neighbours by chance.
    assert near.mean() == pytest.approx(0.5 + 0.5 * (16 / 9) / 36, abs=0.02)
    edge = partner["pose"][near & (source["pose"] == 45)]
    assert set(edge) == {30, 60}


# ------------------------------------------------------------------ splits by name


@pytest.fixture
def split(recipe, monkeypatch):
    """Applies a named split to a table of file names; returns the rows of each part."""

    def make(name, people, sessions=("01",), recordings=("01",)):
        names = [
            f"{person:03}_{session}_{recording}_{camera}_07.png"
            for person in range(1, people + 1)
            for session in sessions
            for recording in recordings
            for camera in YAW
        ]
        monkeypatch.setattr(multipie, "list_images", lambda root: names)
        data = {"use": "multipie", "root": "nowhere", "cameras": list(YAW), "split": name}
        loaded = load_recipe(recipe({"data": data}))
        table = pd.DataFrame(list(Multipie(root=Path("nowhere"), cameras=tuple(YAW)).rows()))
        return {part: table.iloc[rows] for part, rows in split_rows(table, loaded.recipe.data.split).items()}

    return make


def test_setting_1_is_session_one_within_75_degrees(split):
    parts = split("setting_1", 250, sessions=("01", "02"))
    assert [parts[name]["identity"].nunique() for name in ("train", "val", "test")] == [150, 0, 100]
    assert parts["train"]["identity"].iloc[-1] == "150"
    for name in ("train", "test"):
        assert set(parts[name]["session"]) == {"01"}
        assert sorted(set(parts[name]["pose"])) == list(range(-75, 76, 15))
        assert len(parts[name]) == parts[name]["identity"].nunique() * 11


def test_setting_2_is_the_neutral_recording_of_all_sessions(split):
    parts = split("setting_2", 337, sessions=("01", "04"), recordings=("01", "02"))
    assert [parts[name]["identity"].nunique() for name in ("train", "val", "test")] == [200, 0, 137]
    for name in ("train", "test"):
        assert set(parts[name]["recording"]) == {"01"}
        assert set(parts[name]["session"]) == {"01", "04"}
        assert len(set(parts[name]["pose"])) == 13


def test_the_first_200_train_and_all_others_test(split):
    parts = split("first_200", 203)
    assert parts["train"]["identity"].nunique() == 200
    assert set(parts["test"]["identity"]) == {"201", "202", "203"}
    assert sum(map(len, parts.values())) == 203 * 13


def test_a_recipe_with_a_named_split_spells_it_out(recipe):
    loaded = load_recipe(recipe({"data": {"use": "multipie", "root": "nowhere", "split": "setting_1"}}))
    assert loaded.recipe.data.split.where == {"session": "01", "pose": list(range(-75, 76, 15))}
    assert loaded.recipe.dump()["data"]["split"]["train"] == 150
    again = load_recipe(recipe({"data": {"use": "multipie", "root": "nowhere"}}, "set.yaml"), ["data.split=setting_2"])
    assert again.recipe.data.split.where == {"recording": "01"}


def test_an_unknown_split_is_refused_with_the_closest(recipe):
    path = recipe({"data": {"use": "multipie", "root": "nowhere", "split": "seting_2"}})
    with pytest.raises(RecipeError, match=r"data\.split: no split is called 'seting_2'; did you mean 'setting_2'\?"):
        load_recipe(path)


def test_mirrored_views_have_the_opposite_yaw(recipe):
    path = recipe({"data": {"use": "multipie", "root": "nowhere"}, "augment": {"flip": {"chance": 0.5}}})
    assert load_recipe(path).recipe.augment.flip.mirror == {"pose": "negate"}
