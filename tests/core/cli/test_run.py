"""The command ``run`` from end to end, on the toy recipe."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

ROOT = Path(__file__).resolve().parents[3]
TOY = str(ROOT / "tests" / "support" / "toy_faces.py")
GAME = {
    "batch": 4,
    "discriminators": {"patch": {"use": "patch_gan", "width": 4, "layers": 1}},
    "terms": {"l1": {}, "gan": {"use": "hinge", "against": "patch", "weight": 0.1}},
}


@pytest.fixture
def ran(recipe, enface, tmp_path):
    """Run a recipe; return its run directory and the outcome of the command."""

    def call(content, *arguments):
        outcome = enface("run", recipe(content), "--runs", tmp_path / "runs", *arguments)
        assert outcome.code == 0, outcome.out + outcome.err
        return max((tmp_path / "runs").glob("*/*"), key=lambda path: path.stat().st_mtime), outcome

    return call


def events(directory, kind):
    lines = [json.loads(line) for line in (directory / "log.jsonl").read_text().splitlines()]
    return [line for line in lines if line["event"] == kind]


def test_a_run_writes_the_files_that_the_docs_name(ran, recipe):
    directory, outcome = ran(
        {"stages": {"main": {"steps": 5}, "game": {"steps": 2, "ema": 0.5, **GAME}}, "log": {"samples": 3}}
    )
    for name in (
        "recipe.yaml",
        "environment.json",
        "log.jsonl",
        "report/index.html",
        "evaluation/summary.json",
        "evaluation/images.csv",
    ):
        assert (directory / name).stat().st_size > 0, name
    assert [event["stage"] for event in events(directory, "stage_started")] == ["main", "game"]
    assert [event["step"] for event in events(directory, "step")] == [2, 4, 5, 6, 7]
    values = events(directory, "step")[-1]["values"]
    assert {
        "term/l1",
        "term/gan",
        "term/patch.gan",
        "weighted/gan",
        "lr/generator",
        "lr/patch",
        "images_per_second",
    } <= set(values)
    assert {path.name[:8] for path in (directory / "samples").iterdir()} == {
        "00000000",
        "00000003",
        "00000005",
        "00000006",
        "00000007",
    }
    checkpoints = {path.name for path in (directory / "checkpoints").iterdir()}
    assert checkpoints == {"step-00000005.safetensors", "step-00000006.safetensors", "step-00000007.safetensors"}
    environment = json.loads((directory / "environment.json").read_text())
    assert environment["packages"]["torch"] == torch.__version__.partition("+")[0]
    assert str(directory) in outcome.out
    assert re.search(r"^mae +lower +0\.\d+ ", outcome.out, re.M)


def test_the_resolved_recipe_trains_to_the_same_bits(ran, recipe, enface, tmp_path):
    directory, _ = ran({}, "--set", "stages.main.steps=2")
    saved = yaml.safe_load((directory / "recipe.yaml").read_text())
    assert saved["stages"]["main"]["steps"] == 2
    assert saved["pairs"]["partner"]["adjacent"] == "pose"
    assert enface("run", directory / "recipe.yaml", "--runs", tmp_path / "again").code == 0
    (again,) = (tmp_path / "again" / "toy").iterdir()
    assert events(again, "trained")[0]["digest"] == events(directory, "trained")[0]["digest"]


def test_observers_do_not_change_the_result(ran):
    first, _ = ran({"log": {"every": 1, "samples": 1, "checkpoint": 1, "validate": 1}})
    digest = events(first, "trained")[0]["digest"]
    second, _ = ran({"log": {"every": 100, "checkpoint": 0, "observers": []}, "data": {"split": {"val": 0}}})
    assert events(second, "trained")[0]["digest"] == digest
    assert not list((second / "samples").iterdir()), "no observer was selected"
    assert not (second / "tensorboard").exists()


def test_the_best_checkpoint_is_kept(ran):
    directory, _ = ran({"log": {"validate": 1, "best": "mae", "keep": 1}})
    means = [(event["values"]["mae"], event["step"]) for event in events(directory, "validated")]
    from enface.training.checkpoint import load, read_state

    best = directory / "checkpoints" / "best.safetensors"
    assert read_state(best)["step"] == min(means)[1]
    assert load(best).state["best_scores"]["best"] == pytest.approx(-min(means)[0]), "lower is better"


@pytest.mark.parametrize("split", ["val", "test"])
def test_evaluating_a_run_again_gives_the_same_numbers(ran, enface, split):
    directory, _ = ran({"stages": {"main": {"ema": 0.5}}})
    path = directory / "evaluation" / ("val" if split == "val" else "") / "images.csv"
    before = path.read_text()
    path.unlink()
    assert enface("evaluate", directory, "--split", split).code == 0
    assert path.read_text() == before


def test_check_reads_no_image(recipe, enface):
    path = recipe({"data": {"broken": "002_-15_01"}})
    outcome = enface("check", path)
    assert outcome.code == 0
    assert outcome.out.endswith("toy: ok\n")
    assert "002_-15_01 cannot be read" in enface("check", path, "--data").err


def test_check_refuses_data_without_images(recipe, enface):
    outcome = enface("check", recipe({"data": {"identities": 0}}))
    assert outcome.code == 2
    assert "data: toy_faces has no image\n" in outcome.err


def test_a_preview_shows_sources_beside_their_targets(recipe, enface, load, tmp_path):
    import numpy as np
    from PIL import Image

    from enface.training.prepare import prepare_pack

    assert enface("data", "preview", recipe({}), "--out", tmp_path / "deep" / "x.png", "--people", 3).code == 0
    picture = Image.open(tmp_path / "deep" / "x.png")
    # Five pairs and the region maps of one, with gaps of 4 pixels.
    assert picture.size == (6 * 64 + 5 * 4, 3 * 32 + 2 * 4)
    pack = prepare_pack(load())
    second = pack.table[(pack.table["identity"] == "001") & (pack.table["pose"] == 0) & (pack.table["light"] == 0)]
    target = pack.images[second.index[0]].transpose(1, 2, 0)
    sources = pack.images[pack.table.index[pack.table["identity"] == "001"]].transpose(0, 2, 3, 1)
    pixels = np.asarray(picture)[36:68]
    for column in range(5):
        left = 68 * column
        assert (pixels[:, left + 32 : left + 64] == target).all(), "the person's frontal view in the first light"
        assert (sources == pixels[:, left : left + 32]).all((1, 2, 3)).any()


def test_the_version_is_printed(enface):
    import enface as package

    assert enface("--version").out.strip() == f"enface {package.__version__}"


@pytest.mark.parametrize("recipe_file", sorted((ROOT / "recipes").glob("*.yaml")), ids=lambda path: path.name)
def test_every_recipe_in_the_repository_is_valid(enface, recipe_file, tmp_path):
    from PIL import Image

    from enface.plugin.catalog import Catalog
    from enface.plugin.manager import load_plugins

    if "synthetic_heads" not in Catalog(load_plugins()).names("dataset"):
        pytest.skip("the synthetic heads are not installed")
    # The folder of frmdb.yaml, whose images are not part of enface.
    Image.new("RGB", (8, 8)).save(tmp_path / "001_yaw+00_pitch+00.png")
    root = ["--set", f"data.root={tmp_path}"] if "root:" in recipe_file.read_text() else []
    outcome = enface("check", recipe_file, *root)
    assert outcome.code == 0, outcome.err


# ------------------------------------------------------------------ precision


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_trains_with_losses_close_to_fp32(ran, precision):
    directory, _ = ran(
        {"stages": {"main": {"steps": 2}, "game": {"steps": 2, **GAME}}, "engine": {"precision": precision}}
    )
    (trained,) = events(directory, "trained")
    assert trained["digest"]
    half = events(directory, "step")[0]["values"]["term/l1"]
    plain, _ = ran({"stages": {"main": {"steps": 2}}, "name": "plain", "engine": {"precision": "fp32"}})
    assert half == pytest.approx(events(plain, "step")[0]["values"]["term/l1"], rel=0.05)


COMPILED = (
    "import sys; sys.argv = ['enface', 'run', sys.argv[1], '--runs', sys.argv[2]]; from enface.cli import main; main()"
)


UNET = {"use": "unet", "width": 2, "depth": 2}


@pytest.mark.parametrize("generator", [UNET, {"use": "warp", "trunk": UNET, "levels": 2}], ids=["unet", "warp"])
def test_a_compiled_network_trains(recipe, generator, tmp_path):
    path = recipe(
        {
            "engine": {"compile": True, "device": "cpu"},
            "data": {"size": 16},
            "generator": generator,
            "stages": {"main": {"steps": 2, "batch": 4}},
            "log": {"observers": []},
        }
    )
    try:
        process = subprocess.run(
            [sys.executable, "-c", COMPILED, str(path), str(tmp_path / "runs")],
            capture_output=True,
            text=True,
            timeout=60,
            env={**os.environ, "OMP_NUM_THREADS": "1", "TORCHINDUCTOR_COMPILE_THREADS": "1"},
            check=False,
        )
    except subprocess.TimeoutExpired:
        pytest.skip("compiling takes more than a minute on this machine")
    if "InvalidCxxCompiler" in process.stderr or "No working C++ compiler" in process.stderr:
        pytest.skip("no C++ compiler is installed")
    assert process.returncode == 0, process.stderr[-3000:]
    (directory,) = (tmp_path / "runs" / "toy").iterdir()
    assert events(directory, "trained")
