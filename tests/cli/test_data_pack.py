"""``enface data pack``, and runs that train from what it wrote."""

from __future__ import annotations

import json
import shutil
import uuid

import pytest
import yaml


@pytest.fixture
def address():
    return f"memory://{uuid.uuid4().hex}/heads"


def test_a_pack_is_written_and_a_run_trains_from_it(enface, recipe, tmp_path, address):
    path = recipe({"data": {"size": 32, "load_size": 36}, "stages": {"main": {"steps": 2}}})
    found = enface("data", "pack", path, "--out", address)
    assert found.code == 0, found.err
    assert f"pack: {address} (60 images of 36 px, 0.3 MiB)\n" in found.out
    assert f"data: {{pack: {address}, use: toy_faces, size: 32, load_size: 36, split: ...}}" in found.out
    found = enface("run", path, "--set", f"data.pack={address}", "--runs", tmp_path / "runs")
    assert found.code == 0, found.err
    (run,) = tmp_path.glob("runs/toy/*")
    about = json.loads((run / "environment.json").read_text())["pack"]
    assert (about["address"], about["images"], about["dataset"]) == (address, 60, "toy_faces")
    assert yaml.safe_load((run / "recipe.yaml").read_text())["data"]["pack"] == address
    found = enface("evaluate", run)
    assert found.code == 0, found.err


def test_a_run_that_packs_names_no_address(enface, recipe, tmp_path):
    path = recipe({"stages": {"main": {"steps": 1}}})
    assert enface("run", path, "--runs", tmp_path / "runs").code == 0
    (run,) = tmp_path.glob("runs/toy/*")
    assert "address" not in json.loads((run / "environment.json").read_text())["pack"]


def test_a_mistake_is_one_message(enface, recipe, address):
    path = recipe({})
    for words in (("data", "preview", path), ("check", path, "--data"), ("audit", path)):
        found = enface(*words, "--set", f"data.pack={address}")
        assert found.code == 2
        assert found.err == f"error: no pack at {address}: there is no pack.json\n"


def test_processes_with_different_packs_are_refused(enface, recipe, tmp_path, monkeypatch):
    from enface.engine import Engine

    monkeypatch.setattr(Engine, "share", lambda self, value: ("another", 7))
    found = enface("run", recipe({}), "--runs", tmp_path / "runs")
    assert found.code == 2
    assert "process 0 has another pack than the main one" in found.err


def test_two_processes_train_from_one_copy(shell, recipe, enface, tmp_path):
    path = recipe({"stages": {"main": {"steps": 1}}, "evaluation": {"images": 2}})
    assert enface("data", "pack", path, "--out", tmp_path / "heads").code == 0
    # An address that two processes reach and that is no folder.
    address = f"zip://::file://{tmp_path}/heads.zip"
    shutil.make_archive(str(tmp_path / "heads"), "zip", tmp_path / "heads")
    words = ("run", path, "--processes", 2, "--set", "engine.device=cpu", "--set", f"data.pack={address}")
    child = shell(*words, ENFACE_CACHE=str(tmp_path / "cache"))
    assert child.process.exitcode == 0, child.out
    assert len(list((tmp_path / "cache" / "packs" / "fetched").glob("*/pack.json"))) == 1
