"""Reading images into a pack: bounded memory, processes without torch, datasets that cannot be sent to them."""

from __future__ import annotations

from pathlib import Path

import pytest

from enface_tools.packs import reading as packing
from enface_tools.packs.building import make_pack

COUNT = 40
COMPONENT = """
class Shown(Dataset):
    '''Images whose pixels tell about the process that made them.'''
    def __init__(self, *, shade: int = 3):
        self.shade = shade
    def rows(self):
        for n in range(40):
            yield {"key": f"k{n}", "identity": n}
    def image(self, row):
        import numpy as np, os, sys
        threads = __import__("torch").get_num_threads() if self.shade == 5 else 0
        seen = (self.shade, 200 if "torch" in sys.modules else 100, threads)
        return np.full((8, 8, 3), seen, np.uint8)
"""
DATA = {"use": "shown", "size": 8, "split": {"by": "key", "train": 2, "val": 0}}


@pytest.fixture
def parallel(monkeypatch):
    """Use two processes and small chunks, even for few images on one core."""
    monkeypatch.setattr(packing, "CHUNK", 2)
    monkeypatch.setattr(packing, "cores", lambda: 2)


@pytest.fixture
def packed(load, tmp_path):
    """Pack the dataset of a plugin file that does not load torch."""

    def pack(body, **data):
        file = tmp_path / "shown.py"
        brings = "@hookimpl\ndef components():\n    return [Shown]\n"
        file.write_text(f"from enface import Dataset, hookimpl\n{body}\n{brings}", encoding="utf-8")
        loaded = load({"plugins": [str(file)], "data": {**DATA, **data}})
        return make_pack(loaded.recipe, loaded.catalog)

    return pack


def test_the_number_of_pending_chunks_is_bounded(packed, parallel, monkeypatch):
    handed, done, ahead = [], [], []
    records = packing._records
    monkeypatch.setattr(packing, "_records", lambda *what: handed.append(what) or records(*what))
    fill_arrays = packing.fill_arrays

    def watched(*arguments):
        for finished in fill_arrays(*arguments):
            ahead.append(len(handed) - len(done))
            done.append(finished)
            yield finished

    monkeypatch.setattr("enface_tools.packs.building.fill_arrays", watched)
    packed(COMPONENT, shade=4)
    assert len(handed) == len(done) == COUNT // 2
    assert max(ahead) == 2 * packing.AHEAD


def test_processes_that_read_images_load_no_torch(packed, parallel):
    pack = packed(COMPONENT, shade=7)
    assert pack.images[:, 0].tolist() == [[[7] * 8] * 8] * COUNT, "the recipe's parameters reach the processes"
    assert set(pack.images[:, 1].ravel().tolist()) == {100}


def test_torch_in_such_a_process_takes_one_thread(packed, parallel):
    pack = packed(COMPONENT, shade=5)
    assert set(pack.images[:, 1].ravel().tolist()) == {200}
    assert set(pack.images[:, 2].ravel().tolist()) == {1}


def test_a_dataset_that_cannot_be_sent_is_built_by_name(packed, parallel):
    inside = "def made():\n" + "\n".join(f"    {line}" for line in COMPONENT.splitlines())
    pack = packed(f"{inside}\n    return Shown\nShown = made()\n", shade=9)
    assert set(pack.images[:, 0].ravel().tolist()) == {9}
    assert set(pack.images[:, 1].ravel().tolist()) == {200}, "the catalog loads torch; else this shows nothing"


def test_references_to_datasets():
    assert packing.DatasetRef.of(int, {"a": {"b": (1, Path("x"))}}).component() is int
    assert packing.DatasetRef.of(type("Local", (), {}), {}) is None
    assert packing.DatasetRef.of(int, {"a": [lambda: 0]}) is None
