"""``enface data pack``, and runs that train from a written pack."""

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
    result = enface("data", "pack", path, "--out", address)
    assert result.code == 0, result.err
    assert f"pack: {address} (60 images of 36 px, 0.3 MiB)\n" in result.out
    assert f"data: {{pack: {address}, use: toy_faces, size: 32, load_size: 36, split: ...}}" in result.out
    result = enface("run", path, "--set", f"data.pack={address}", "--runs", tmp_path / "runs")
    assert result.code == 0, result.err
    (run,) = tmp_path.glob("runs/toy/*")
    about = json.loads((run / "environment.json").read_text())["pack"]
    assert (about["address"], about["images"], about["dataset"]) == (address, 60, "toy_faces")
    assert yaml.safe_load((run / "recipe.yaml").read_text())["data"]["pack"] == address
    result = enface("evaluate", run)
    assert result.code == 0, result.err


def test_a_run_that_packs_names_no_address(enface, recipe, tmp_path):
    path = recipe({"stages": {"main": {"steps": 1}}})
    assert enface("run", path, "--runs", tmp_path / "runs").code == 0
    (run,) = tmp_path.glob("runs/toy/*")
    assert "address" not in json.loads((run / "environment.json").read_text())["pack"]


def test_a_missing_pack_is_one_message(enface, recipe, address):
    path = recipe({})
    for command in (("data", "preview", path), ("check", path, "--data"), ("audit", path)):
        result = enface(*command, "--set", f"data.pack={address}")
        assert result.code == 2
        assert result.err == f"error: no pack at {address}: there is no pack.json\n"


def test_processes_with_different_packs_are_refused(enface, recipe, tmp_path, monkeypatch):
    from enface.training.engine import Engine

    monkeypatch.setattr(Engine, "broadcast", lambda self, value: ("another", 7))
    result = enface("run", recipe({}), "--runs", tmp_path / "runs")
    assert result.code == 2
    assert "process 0 has another pack than the main one" in result.err


def test_two_processes_train_from_one_copy(shell, recipe, enface, tmp_path):
    path = recipe({"stages": {"main": {"steps": 1}}, "evaluation": {"images": 2}})
    assert enface("data", "pack", path, "--out", tmp_path / "heads").code == 0
    # An address that two processes can reach and that is not a folder.
    address = f"zip://::file://{tmp_path}/heads.zip"
    shutil.make_archive(str(tmp_path / "heads"), "zip", tmp_path / "heads")
    command = ("run", path, "--processes", 2, "--set", "engine.device=cpu", "--set", f"data.pack={address}")
    child = shell(*command, ENFACE_CACHE=str(tmp_path / "cache"))
    assert child.process.exitcode == 0, child.out
    assert len(list((tmp_path / "cache" / "packs" / "fetched").glob("*/pack.json"))) == 1


def test_a_pack_is_made_in_parts_and_written(enface, recipe, tmp_path, monkeypatch):
    monkeypatch.setenv("ENFACE_CACHE", str(tmp_path / "cache"))
    path = recipe({"data": {"broken": "001_+15_01", "on_error": "skip"}})
    result = enface("data", "pack", path, "--part", "2/3")
    assert result.code == 0, result.err
    assert "part 2/3 is packed; 2 to come: 1, 3\n" in result.out
    assert enface("data", "pack", path, "--part", "1/3").code == 0
    result = enface("data", "pack", path, "--part", "3/3")
    (folder,) = (tmp_path / "cache" / "packs").glob("*/pack.json")
    assert f"skipped 1 unreadable images; {folder} names them\n" in result.out
    assert f"pack: {folder.parent} (59 images of " in result.out
    result = enface("data", "pack", path, "--out", tmp_path / "heads")
    assert result.code == 0, result.err
    assert "packing" not in result.out
    assert (tmp_path / "heads" / "images.npy").read_bytes() == (folder.parent / "images.npy").read_bytes()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ((), "data pack: give --out ADDRESS, or --part K/N"),
        (("--part", "1/2", "--out", "there"), "data pack: give --out ADDRESS, or --part K/N"),
        (("--part", "3/2"), "--part: '3/2' is not K/N with K from 1 to N, as 3/16"),
        (("--part", "1/2", "--set", "data.pack=there"), "the recipe names a pack (data.pack)"),
        (
            ("--part", "1/46", "--set", "data.identities=9", "--set", "data.lights=1"),
            "has 45 images, too few for 46 parts",
        ),
    ],
)
def test_invalid_parts(enface, recipe, options, says):
    result = enface("data", "pack", recipe({}), *options)
    assert result.code == 2
    assert result.err.startswith("error: ")
    assert says in result.err
    assert result.err.count("\n") == 1
