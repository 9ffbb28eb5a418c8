"""Stages that start from the weights of another run, and the evaluation of each stage, on the command line."""

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


def recipe_of(stages, **keys):
    """Return a recipe whose stages are variants of ``STAGE`` and replace that of the toy recipe."""
    named = {"main": False, **{name: {**STAGE, **more} for name, more in stages.items()}}
    return {"generator": UNET, "engine": ENGINE, "stages": named, "log": {"checkpoint": 1}, **keys}


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """Folder of the other run, which is trained once."""
    return tmp_path_factory.mktemp("kept")


@pytest.fixture
def other(kept, recipe, enface, tmp_path):
    """Folder with a copy of one completed run of the stages ``first`` (2 steps) and ``second`` (2 steps)."""
    if not list(kept.iterdir()):
        content = recipe_of({"first": {}, "second": {}}, name="other", evaluation={"stages": False})
        outcome = enface("run", recipe(content, "other.yaml"), "--runs", kept)
        assert outcome.code == 0, outcome.err
    shutil.copytree(kept / "other", tmp_path / "other")
    return tmp_path / "other"


@pytest.fixture
def run(recipe, enface, tmp_path):
    """Run a recipe; return its run directory (None if it was not created) and the outcome of the command."""

    def call(content, *arguments):
        outcome = enface("run", recipe(content), "--runs", tmp_path / "runs", *arguments)
        assert "Traceback" not in outcome.out + outcome.err
        directories = sorted((tmp_path / "runs").glob("*/*"))
        return directories[-1] if directories else None, outcome

    return call


def events(directory, kind):
    lines = [json.loads(line) for line in (directory / "log.jsonl").read_text().splitlines()]
    return [line for line in lines if line["event"] == kind]


# ------------------------------------------------------------------ the start of a stage


def test_a_run_reports_the_checkpoint_that_a_stage_starts_from(run, other):
    (source,) = other.iterdir()
    directory, outcome = run(recipe_of({"a": {"start": {"run": str(other), "stage": "first"}}}))
    assert outcome.code == 0, outcome.err
    checkpoint = source / "checkpoints" / "step-00000002.safetensors"
    (event,) = events(directory, "weights_loaded")
    text = " ".join(outcome.out.split())
    assert f"a: {event['loaded']} tensors loaded from" in text
    assert str(checkpoint) in "".join(outcome.out.split())
    assert (event["path"], event["stage"], event["step"]) == (str(checkpoint), "a", 0)
    assert yaml.safe_load((directory / "recipe.yaml").read_text())["stages"]["a"]["start"]["run"] == str(source)


def test_tensors_that_were_not_loaded_are_named(run, other):
    deeper = recipe_of({"a": {"start": {"run": str(other), "partial": True}}}, generator={**UNET, "depth": 4})
    directory, outcome = run(deeper)
    assert outcome.code == 0, outcome.err
    (event,) = events(directory, "weights_loaded")
    text = "".join(outcome.out.split())
    assert event["kept"]
    assert event["unused"]
    for names, reason in ((event["kept"], "not in it, left unchanged"), (event["unused"], "in it, but not loaded")):
        assert f"{len(names)} {reason}: {names[0]}".replace(" ", "") in text


@pytest.mark.parametrize(
    ("start", "generator", "expected"),
    [
        ({}, {**UNET, "width": 8}, ["(here (8, ", "there (4, ", "start.parts", "start.partial: true", "step-00000004"]),
        ({}, {"use": "siamese", "width": 0.125}, ["there missing)", "differs from this recipe's"]),
        ({"step": 9}, UNET, ["no checkpoint of 9", "first 2, second 1, second 2"]),
        ({"stage": "third"}, UNET, ["no checkpoint of third"]),
        ({"parts": ["encodr"]}, UNET, ["start.parts", "did you mean 'encoder'?"]),
        ({"average": True}, UNET, ["start.average", "no running average"]),
    ],
)
def test_weights_that_do_not_fit_are_refused_before_training(run, other, start, generator, expected):
    content = recipe_of({"a": {}, "b": {"start": {"run": str(other), **start}}}, generator=generator)
    directory, outcome = run(content)
    assert outcome.code == 2, outcome.out
    assert "mine.yaml:" in outcome.err
    assert ": stages.b: start" in outcome.err
    for part in expected:
        assert part in outcome.err
    assert directory is None, "nothing was trained"


def test_a_missing_run_or_checkpoint_is_named(run, tmp_path):
    directory, outcome = run(recipe_of({"a": {"start": {"run": str(tmp_path / "gone")}}}))
    assert (outcome.code, directory) == (2, None)
    assert f"{tmp_path / 'gone'} has no checkpoint; train that run first" in outcome.err
    directory, outcome = run(recipe_of({"a": {"start": {"checkpoint": str(tmp_path / "gone.safetensors")}}}))
    assert (outcome.code, directory) == (2, None)
    assert f"{tmp_path / 'gone.safetensors'} does not exist" in outcome.err


def test_check_with_data_refuses_weights_that_do_not_fit(recipe, enface, other):
    path = recipe(recipe_of({"a": {"start": {"run": str(other)}}}, generator={**UNET, "width": 8}))
    assert enface("check", path).code == 0, "without data nothing is built"
    outcome = enface("check", path, "--data")
    assert outcome.code == 2
    assert "differs from this recipe's" in outcome.err


def test_a_run_killed_in_a_stage_with_a_start_resumes_to_the_same_bits(
    recipe, plugin, enface, other, shell, log, tmp_path
):
    body = (
        "@hookimpl\ndef step_ended(run):\n"
        "    if str(run.step) == os.environ.get('STOP_AT'): os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    toy = str(Path(__file__).parents[2] / "support" / "toy_faces.py")
    named = {"a": {}, "b": {"steps": 4, "start": {"run": str(other), "parts": ["encoder"]}}}
    content = recipe_of(named, plugins=[plugin(body, "killer.py"), toy], log={"checkpoint": 1, "every": 1})
    path = recipe(content)
    assert enface("run", path, "--runs", tmp_path / "uninterrupted").code == 0
    (uninterrupted,) = log(shell.run_directory("toy", "uninterrupted"), "trained")
    child = shell("run", path, STOP_AT="5")
    assert child.process.exitcode == -signal.SIGKILL, child.out
    # A newer run beside the source changes nothing, because the resolved recipe names the run itself.
    (source,) = other.iterdir()
    shutil.copytree(source, other / "29990101-000000")
    directory = shell.run_directory("toy")
    outcome = enface("run", directory, "--resume")
    assert outcome.code == 0, outcome.err
    (trained,) = log(directory, "trained")
    assert trained["digest"] == uninterrupted["digest"]
    assert [event["step"] for event in log(directory, "step")] == [1, 2, 3, 4, 5, 6]
    assert len(log(directory, "weights_loaded")) == 1


# ------------------------------------------------------------------ evaluation of each stage


def test_each_of_several_stages_is_evaluated_on_validation_people(run, enface):
    directory, outcome = run(recipe_of({"a": {}, "b": {}}))
    assert outcome.code == 0, outcome.err
    assert not (directory / "evaluation" / "stages.json").exists(), "comparing stages is choosing"
    path = directory / "evaluation" / "val" / "stages.json"
    stages = json.loads(path.read_text())
    change = stages["b"]["metrics"]["mae"]["change"]
    means = [stages[name]["metrics"]["mae"]["mean"] for name in "ab"]
    first, second = (text.partition("test people:")[0] for text in outcome.out.split("\nstage ")[1:])
    assert first.startswith("a:")
    assert f"{means[0]:.3g}" in first
    assert (change["low"], change["high"]) == (None, None), "one person has no interval"
    assert second.startswith("b after a:")
    assert f"{means[1]:.3g}" in second
    assert f"{change['mean']:+.3g}" in second
    page = (directory / "report" / "index.html").read_text()
    assert 'id="stages"' in page
    assert page.count(">after a<") == page.count(">after b<") > 0
    path.unlink()
    assert enface("evaluate", directory).code == 0
    assert json.loads(path.read_text()) == stages


@pytest.mark.parametrize(
    ("named", "overrides"), [({"a": {}, "b": {}}, ["--set", "evaluation.stages=false"]), ({"a": {}}, [])]
)
def test_stages_are_not_evaluated_if_there_is_only_one_or_the_recipe_disables_it(run, named, overrides):
    directory, outcome = run(recipe_of(named), *overrides)
    assert outcome.code == 0, outcome.err
    assert "stage a" not in outcome.out
    names = {path.name for path in (directory / "evaluation").iterdir()}
    assert not {"stages", "stages.json"} & names
    assert {"images.csv", "summary.json", "grid.png"} <= names
    assert "Metrics of each stage" not in (directory / "report" / "index.html").read_text()
