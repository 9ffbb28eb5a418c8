"""Multi-PIE by its file names, on a made-up folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from enface import DataError
from enface.recipe import PairsModel
from enface.sampling import Pairs
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
    with pytest.raises(DataError, match="no image under"):
        list(Multipie(root=tmp_path, recordings=("02",)).rows())


def test_other_files_are_left_alone(tmp_path):
    make(tmp_path)
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / "contact-sheet.png")
    assert len(list(Multipie(root=tmp_path).rows())) == 36


def test_what_is_missing_is_named(tmp_path):
    make(tmp_path)
    make(tmp_path, identities=("003",), cameras=("050",))
    with pytest.raises(DataError, match=r"1 identities .* no image of the frontal camera 051: 003"):
        list(Multipie(root=tmp_path).rows())
    with pytest.raises(DataError, match="frontal camera 051 must be among them"):
        Multipie(root=tmp_path, cameras=("050",))


def test_a_neighbour_is_one_step_away_in_yaw_never_in_the_cameras_order(tmp_path):
    import pandas as pd

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
    # By rule half the time, and of any 36 images one or two are neighbours by chance.
    assert near.mean() == pytest.approx(0.5 + 0.5 * (16 / 9) / 36, abs=0.02)
    edge = partner["pose"][near & (source["pose"] == 45)]
    assert set(edge) == {30, 60}
