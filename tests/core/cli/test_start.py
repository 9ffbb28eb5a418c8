"""Starting a stage from other weights, and seeing what each stage bought, as a user does."""

from __future__ import annotations

import json
import shutil
import signal
from pathlib import Path

import pytest
import yaml

UNET = {"use": "unet", "width": 4, "depth": 3}
STAGE = {"steps": 2, "batch": 4, "optimizer": {"lr": 0.01}, "terms": {"l1": {}}}
ENGINE = {"device": "cpu", "precision": "fp32"}


def whole(stages, **keys):
    """A recipe of stages like ``STAGE``, in place of the toy's own."""
    named = {"main": False, **{name: {**STAGE, **more} for name, more in stages.items()}}
    return {"generator": UNET, "engine": ENGINE, "stages": named, "log": {"checkpoint": 1}, **keys}


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """Where the other run is kept once it was made."""
    return tmp_path_factory.mktemp("kept")


@pytest.fixture
def other(kept, recipe, enface, tmp_path):
    """A folder with one finished run of the stages ``first`` (2 steps) and ``second`` (2): made once, copied."""
    if not list(kept.iterdir()):
        content = whole({"first": {}, "second": {}}, name="other", evaluation={"stages": False, "bootstrap": 100})
        found = enface("run", recipe(content, "other.yaml"), "--runs", kept)
        assert found.code == 0, found.err
    shutil.copytree(kept / "other", tmp_path / "other")
    return tmp_path / "other"


@pytest.fixture
def run(recipe, enface, tmp_path):
    """Run a recipe; its directory (None where none was made) and what was said."""

    def call(content, *words):
        found = enface("run", recipe(content), "--runs", tmp_path / "runs", *words)
        assert "Traceback" not in found.out + found.err
        made = sorted((tmp_path / "runs").glob("*/*"))
        return made[-1] if made else None, found

    return call


def events(directory, kind):
    lines = [json.loads(line) for line in (directory / "log.jsonl").read_text().splitlines()]
    return [line for line in lines if line["event"] == kind]


# ------------------------------------------------------------------ starting


def test_a_run_says_what_it_started_from(run, other):
    (theirs,) = other.iterdir()
    directory, found = run(whole({"a": {"start": {"run": str(other), "stage": "first"}}}))
    assert found.code == 0, found.err
    path = theirs / "checkpoints" / "step-00000002.safetensors"
    (event,) = events(directory, "weights_loaded")
    said = " ".join(found.out.split())
    assert f"a: {event['loaded']} tensors loaded from" in said
    assert str(path) in "".join(found.out.split())
    assert (event["path"], event["stage"], event["step"]) == (str(path), "a", 0)
    assert yaml.safe_load((directory / "recipe.yaml").read_text())["stages"]["a"]["start"]["run"] == str(theirs)


def test_what_was_not_loaded_is_named(run, other):
    deeper = whole({"a": {"start": {"run": str(other), "partial": True}}}, generator={**UNET, "depth": 4})
    directory, found = run(deeper)
    assert found.code == 0, found.err
    (event,) = events(directory, "weights_loaded")
    said = "".join(found.out.split())
    assert event["kept"]
    assert event["unused"]
    for names, words in ((event["kept"], "not in it, left unchanged"), (event["unused"], "in it, but not loaded")):
        assert f"{len(names)} {words}: {names[0]}".replace(" ", "") in said


@pytest.mark.parametrize(
    ("start", "generator", "says"),
    [
        ({}, {**UNET, "width": 8}, ["(here (8, ", "there (4, ", "start.parts", "start.partial: true", "step-00000004"]),
        ({}, {"use": "siamese", "width": 0.125}, ["there missing)", "differs from this recipe's"]),
        ({"step": 9}, UNET, ["no checkpoint of 9", "first 2, second 1, second 2"]),
        ({"stage": "third"}, UNET, ["no checkpoint of third"]),
        ({"parts": ["encodr"]}, UNET, ["start.parts", "did you mean 'encoder'?"]),
        ({"average": True}, UNET, ["start.average", "no running average"]),
    ],
)
def test_weights_that_do_not_fit_are_refused_before_training(run, other, start, generator, says):
    content = whole({"a": {}, "b": {"start": {"run": str(other), **start}}}, generator=generator)
    directory, found = run(content)
    assert found.code == 2, found.out
    assert "mine.yaml:" in found.err
    assert ": stages.b: start" in found.err
    for part in says:
        assert part in found.err
    assert directory is None, "nothing was trained"


def test_a_run_or_a_file_that_is_not_there(run, tmp_path):
    directory, found = run(whole({"a": {"start": {"run": str(tmp_path / "gone")}}}))
    assert (found.code, directory) == (2, None)
    assert f"{tmp_path / 'gone'} has no checkpoint; train that run first" in found.err
    directory, found = run(whole({"a": {"start": {"checkpoint": str(tmp_path / "gone.safetensors")}}}))
    assert (found.code, directory) == (2, None)
    assert f"{tmp_path / 'gone.safetensors'} does not exist" in found.err


def test_check_with_data_refuses_what_does_not_fit(recipe, enface, other):
    path = recipe(whole({"a": {"start": {"run": str(other)}}}, generator={**UNET, "width": 8}))
    assert enface("check", path).code == 0, "without data nothing is built"
    found = enface("check", path, "--data")
    assert found.code == 2
    assert "differs from this recipe's" in found.err


def test_a_run_killed_in_a_stage_with_a_start_goes_on_to_the_same_bits(
    recipe, plugin, enface, other, shell, log, tmp_path
):
    body = (
        "@hookimpl\ndef step_ended(run):\n"
        "    if str(run.step) == os.environ.get('STOP_AT'): os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    toy = str(Path(__file__).parents[2] / "support" / "toy_faces.py")
    named = {"a": {}, "b": {"steps": 4, "start": {"run": str(other), "parts": ["encoder"]}}}
    content = whole(named, plugins=[plugin(body, "killer.py"), toy], log={"checkpoint": 1, "every": 1})
    path = recipe(content)
    assert enface("run", path, "--runs", tmp_path / "whole").code == 0
    (uncut,) = log(shell.run_directory("toy", "whole"), "trained")
    child = shell("run", path, STOP_AT="5")
    assert child.process.exitcode == -signal.SIGKILL, child.out
    # A newer run beside the one it started from changes nothing: the resolved recipe names the run itself.
    (theirs,) = other.iterdir()
    shutil.copytree(theirs, other / "29990101-000000")
    directory = shell.run_directory("toy")
    found = enface("run", directory, "--resume")
    assert found.code == 0, found.err
    (trained,) = log(directory, "trained")
    assert trained["digest"] == uncut["digest"]
    assert [event["step"] for event in log(directory, "step")] == [1, 2, 3, 4, 5, 6]
    assert len(log(directory, "weights_loaded")) == 1


# ------------------------------------------------------------------ what each stage bought


def test_a_run_of_several_stages_measures_each(run, enface):
    directory, found = run(whole({"a": {}, "b": {}}))
    assert found.code == 0, found.err
    stages = json.loads((directory / "evaluation" / "stages.json").read_text())
    change = stages["b"]["metrics"]["l1"]["change"]
    assert f"stage a:\n  l1: {stages['a']['metrics']['l1']['mean']:.4f}" in found.out
    assert f"{change['mean']:+.4f} [{change['low']:+.4f}, {change['high']:+.4f}]" in found.out
    assert "stage b after a:" in found.out
    page = (directory / "report" / "index.html").read_text()
    assert "What each stage bought" in page
    assert page.count("test faces after stage") == 2
    (directory / "evaluation" / "stages.json").unlink()
    assert enface("evaluate", directory).code == 0
    assert json.loads((directory / "evaluation" / "stages.json").read_text()) == stages


@pytest.mark.parametrize(
    ("named", "words"), [({"a": {}, "b": {}}, ["--set", "evaluation.stages=false"]), ({"a": {}}, [])]
)
def test_stages_are_not_measured_where_there_is_one_or_the_recipe_says_no(run, named, words):
    directory, found = run(whole(named), *words)
    assert found.code == 0, found.err
    assert "stage a" not in found.out
    found = {path.name for path in (directory / "evaluation").iterdir()}
    assert not {"stages", "stages.json"} & found
    assert {"images.csv", "summary.json", "grid.png"} <= found
    assert "What each stage bought" not in (directory / "report" / "index.html").read_text()
