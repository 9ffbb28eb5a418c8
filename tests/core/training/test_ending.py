"""Early ends of stages, and last stages that get more steps when their run is resumed."""

from __future__ import annotations

import dataclasses
import json

import pytest
from scripted import Scripted

from enface.errors import CheckpointError, RecipeError
from enface.training.checkpoint import digest, load, read_state
from enface.training.ending import extend
from enface.training.run import latest_checkpoint
from enface.training.trainer import Trainer

UNET = {"use": "unet", "width": 4, "depth": 3}
LOG = {"validate": 1, "checkpoint": 1, "keep": 20}


def events(trainer, kind):
    lines = [json.loads(line) for line in (trainer.run.directory / "log.jsonl").read_text().splitlines()]
    return [line for line in lines if line["event"] == kind]


@pytest.fixture
def stopping(new_trainer):
    """Return a trainer of a stage of eight steps that stops by scripted validations, one per step."""

    def build(values, folder="run", then=False, **stop):
        stop = {"metric": "mae", "patience": 2, **stop}
        stage = {"steps": 8, "batch": 4, "optimizer": {"lr": 0.01}, "terms": {"l1": {}}}
        stages = {"main": {**stage, "stop": stop}, **({"then": {**stage, "steps": 2}} if then else {})}
        trainer = new_trainer({"generator": UNET, "stages": stages, "metrics": ["mae"], "log": LOG}, folder)
        trainer.run.validator = Scripted(values)
        return trainer

    return build


def again(trainer, values=()):
    """Return a trainer that resumes the run of another one."""
    other = Trainer(dataclasses.replace(trainer.run, step=0))
    other.run.validator = Scripted(values)
    return other


@pytest.mark.parametrize(
    ("values", "stop", "steps"),
    [
        ([0.5, 0.4, 0.4, 0.41], {}, 4),
        ([0.5, 0.6, 0.4, 0.5, 0.39, 0.4, 0.4], {}, 7),
        ([0.5, 0.45, 0.44], {"min_delta": 0.06}, 3),
        ([0.5, 0.6, 0.7, 0.8], {"patience": 3}, 4),
        ([float("nan")] * 2, {}, 2),
        ([0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1], {}, 8),
    ],
)
def test_a_stage_ends_when_the_metric_stops_improving(stopping, values, stop, steps):
    trainer = stopping(values, **stop)
    trainer.train()
    state = read_state(latest_checkpoint(trainer.run.directory))
    assert (state["stage_step"], state["stage_ended"], state["early"]) == (steps, True, steps < 8)
    assert len(events(trainer, "stopped_early")) == (steps < 8)
    assert [event["step"] for event in events(trainer, "step")][-1] == steps, "the last interval is reported"


def test_the_next_stage_follows_a_stage_that_stopped_early(stopping):
    trainer = stopping([0.5, 0.6, 0.6, 0.4, 0.3], then=True)
    trainer.train()
    (event,) = events(trainer, "stopped_early")
    assert event["reason"] == "stopped early at step 3: mae did not improve on 0.5 in 2 validations"
    assert (event["stage"], event["step"]) == ("main", 3)
    assert [(item["stage"], item["step"]) for item in events(trainer, "stage_started")] == [("main", 0), ("then", 3)]
    assert read_state(latest_checkpoint(trainer.run.directory))["step"] == 5


@pytest.mark.parametrize(("values", "best"), [([0.5, 0.2, 0.3, 0.4], 2), ([0.9 - step / 10 for step in range(8)], 8)])
def test_the_weights_of_the_best_validation_are_restored(stopping, new_trainer, values, best):
    trainer = stopping(values, restore="best")
    trainer.train()
    stage = {"steps": best, "batch": 4, "optimizer": {"lr": 0.01}}
    other = new_trainer({"generator": UNET, "stages": {"main": stage}}, "other")
    other.train()
    assert digest(trainer.generator) == digest(other.generator)
    saved = load(latest_checkpoint(trainer.run.directory)).part("generator")
    assert all(saved[name].equal(value) for name, value in other.generator.state_dict().items())


@pytest.mark.parametrize("restore", ["last", "best"])
@pytest.mark.parametrize("step", [1, 2, 3])
def test_a_run_that_is_resumed_stops_at_the_same_step(stopping, restore, step):
    values = [0.5, 0.2, 0.3, 0.4]
    whole = stopping(values, "whole", restore=restore)
    whole.train()
    cut = stopping(values, restore=restore)
    cut.train()
    for path in cut.run.checkpoints.glob("step-*"):
        if int(path.stem.rpartition("-")[2]) > step:
            path.unlink()
    resumed = again(cut, values[step:])
    resumed.train(resume=True)
    assert digest(resumed.generator) == digest(whole.generator)
    assert resumed.run.step == whole.run.step == 4
    assert len(events(resumed, "stopped_early")) == 1


def test_a_stage_that_stopped_early_is_not_continued(stopping):
    trainer = stopping([0.5, 0.6, 0.7])
    trainer.train()
    before = digest(trainer.generator)
    resumed = again(trainer)
    resumed.train(resume=True)
    assert (resumed.run.step, digest(resumed.generator)) == (3, before)
    assert not events(resumed, "stage_started")[1:]


def test_a_stop_without_its_metric_is_refused(new_trainer):
    trainer = new_trainer({"stages": {"main": {"stop": {"metric": "ssim"}}}})
    with pytest.raises(RecipeError, match="stop follows metric 'ssim'; validated: "):
        trainer.check()


# ------------------------------------------------------------------ more steps


PATCH = {"patch": {"use": "patch_gan", "width": 4, "layers": 1}}
LINEAR = {"use": "linear", "start": 0.01, "end": 0.001, "over": 5}
STAGE = {
    "steps": 4,
    "batch": 4,
    "ema": 0.9,
    "optimizer": {"lr": LINEAR},
    "discriminators": PATCH,
    "terms": {"l1": {}, "gan": {"use": "hinge", "against": "patch", "weight": 0.1}},
}


@pytest.fixture
def trained(recipe, enface, tmp_path):
    """Train a recipe of two stages with some steps of the last; return the run directory."""

    def train(steps, folder, **keys):
        first = {"steps": 2, "batch": 4, "terms": {"l1": {}}}
        stages = {"main": False, "first": first, "last": {**STAGE, **keys, "steps": steps}}
        content = {"generator": UNET, "stages": stages, "metrics": ["mae"], "log": {"validate": 3, "checkpoint": 3}}
        path = recipe({**content, "data": {"split": {"train": 4, "val": 1, "test": 1}}})
        outcome = enface("run", path, "--runs", tmp_path / folder)
        assert outcome.code == 0, outcome.err
        (directory,) = (tmp_path / folder).glob("*/*")
        return directory

    return train


def end(directory):
    state = read_state(latest_checkpoint(directory))
    lines = [json.loads(line) for line in (directory / "log.jsonl").read_text().splitlines()]
    (digest_,) = [line["digest"] for line in lines if line["event"] == "trained"]
    return state["stage"], state["stage_step"], digest_


PLATEAU = {"use": "plateau", "start": 0.01, "metric": "mae", "patience": 0}


@pytest.mark.parametrize("keys", [{}, {"optimizer": {"lr": PLATEAU}}], ids=["linear", "plateau"])
def test_a_longer_last_stage_continues_a_finished_run_to_the_same_bits(trained, enface, keys):
    directory = trained(4, "short", **keys)
    outcome = enface("run", directory, "--resume", "--set", "stages.last.steps=7")
    assert outcome.code == 0, outcome.err
    longer = trained(7, "long", **keys)
    assert end(directory) == end(longer) == ("last", 7, end(longer)[2])
    ours, theirs = (load(latest_checkpoint(item)).tensors for item in (directory, longer))
    assert ours.keys() == theirs.keys()
    assert all(ours[name].equal(theirs[name]) for name in ours), "critics, optimizers and the average included"
    assert (directory / "recipe.yaml").read_text() == (longer / "recipe.yaml").read_text()
    results = [json.loads((item / "evaluation" / "summary.json").read_text()) for item in (directory, longer)]
    assert results[0]["metrics"] == results[1]["metrics"]
    assert (directory / "report" / "index.html").is_file()
    # From now on it is a run of seven steps.
    assert enface("run", directory, "--resume").code == 0
    assert end(directory)[1] == 7


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("stages.last.steps=3", "different: stages.last.steps;"),
        ("stages.first.steps=3", "different: stages.first.steps;"),
        ("stages.last.batch=8", "different: stages.last.batch;"),
    ],
)
def test_only_the_last_stage_may_become_longer(trained, enface, override, message):
    directory = trained(4, "short")
    before = (directory / "recipe.yaml").read_text()
    outcome = enface("run", directory, "--resume", "--set", override)
    assert outcome.code == 2
    assert message in outcome.err
    assert "only the number of steps of the last stage may grow" in outcome.err
    assert (directory / "recipe.yaml").read_text() == before


@pytest.mark.parametrize(
    ("keys", "reason"),
    [
        ({"optimizer": {"lr": PLATEAU}, "steps": 5}, "lr/generator followed the validation at its end"),
        ({"stop": {"metric": "mae", "restore": "best"}}, "it has the weights of its best validation"),
        ({"stop": {"metric": "mae", "min_delta": 1, "patience": 1}, "steps": 9}, "it stopped early"),
    ],
)
def test_a_stage_that_cannot_be_continued_exactly_is_refused_with_the_remedy(trained, enface, keys, reason):
    directory = trained(keys.pop("steps", 4), "short", **keys)
    before = (directory / "recipe.yaml").read_text()
    outcome = enface("run", directory, "--resume", "--set", "stages.last.steps=20")
    assert outcome.code == 2
    assert reason in outcome.err
    assert f"--set stages.last.start='{{run: {directory}}}'" in outcome.err
    assert (directory / "recipe.yaml").read_text() == before


def test_a_schedule_free_optimizer_ends_a_stage_for_good(new_trainer):
    pytest.importorskip("schedulefree")
    stage = {"steps": 2, "optimizer": {"use": "schedule_free_adamw", "lr": 1e-3}}
    trainer = new_trainer({"generator": UNET, "stages": {"main": stage}})
    trainer.train()
    longer = new_trainer({"generator": UNET, "stages": {"main": {**stage, "steps": 4}}}, "longer").run
    longer.directory = trainer.run.directory
    with pytest.raises(CheckpointError, match="because schedule_free_adamw has averaged the weights"):
        extend(longer)
