"""A run interrupted at any moment and resumed ends with the same bits as an uninterrupted run."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from enface.system.locks import LOCK_FILE, hold_lock

RECIPE = {
    "name": "cut",
    "data": {"identities": 6, "lights": 2, "split": {"train": 4, "val": 1, "test": 1}},
    "generator": {"use": "unet", "width": 4, "depth": 3, "dropout": 0.5, "norm": "batch"},
    "stages": {
        "main": {"steps": 3, "terms": {"l1": {"weight": {"use": "linear", "start": 1, "end": 2, "over": 3}}}},
        "game": {
            "steps": 7,
            "batch": 8,
            "ema": 0.8,
            "clip": 1.0,
            "optimizer": {"use": "adam", "lr": {"use": "step_decay", "start": 1.0e-3, "every": 3}},
            "discriminators": {
                "patch": {
                    "use": "multi_scale",
                    "width": 4,
                    "layers": 1,
                    "norm": "batch",
                    "spectral_norm": True,
                    "augment": {"use": "diff_augment", "strength": 0.5, "target": 0.6, "reach": 10},
                }
            },
            "terms": {
                "l1": {},
                "gan": {"use": "hinge", "against": "patch", "weight": 0.1},
                "feature_matching": {"against": "patch", "weight": 0.1},
                "lecam": {"against": "patch", "weight": 0.1},
            },
        },
    },
    "metrics": ["mae"],
    "log": {"every": 1, "samples": 2, "checkpoint": 2, "keep": 1, "validate": 3, "best": "mae"},
    "engine": {"device": "cpu", "precision": "fp32"},
}
# Kills the run from an observing hook, so that the moment is exact.
KILLER = """
def at(moment, step):
    wanted, _, number = os.environ.get("STOP_AT", "").partition(":")
    if wanted == moment and int(number) == step:
        os.kill(os.getpid(), getattr(signal, os.environ["STOP_BY"]))

@hookimpl
def stage_started(run, stage, step): at("stage", run.step)
@hookimpl
def step_ended(run, step): at("step", run.step)
@hookimpl
def samples_ready(run, step): at("samples", step)
@hookimpl
def checkpoint_saved(run, step): at("checkpoint", step)
@hookimpl
def evaluated(run, step): at("validated", step)
"""
STEPS = list(range(1, 11))


@pytest.fixture
def killable(recipe, plugin):
    """A recipe whose run kills itself; environment variables choose the moment (STOP_AT) and the signal (STOP_BY)."""
    toy = str(Path(__file__).parents[2] / "support" / "toy_faces.py")
    return recipe({**RECIPE, "plugins": [toy, plugin(KILLER, name="killer.py")]})


@pytest.fixture(scope="module")
def whole():
    """Results of the uninterrupted run, which is trained once: digest, logged values and tensors."""
    return {}


@pytest.fixture
def expected(whole, killable, shell, log):
    if not whole:
        child = shell("run", killable, "--runs", "whole")
        directory = shell.run_directory("cut", "whole")
        assert child.process.exitcode == 0, child.out
        assert [event["step"] for event in log(directory, "step")] == STEPS
        (trained,) = log(directory, "trained")
        whole["digest"] = trained["digest"]
        whole["values"] = [event["values"] for event in log(directory, "step")]
        whole["tensors"] = load_file(sorted(directory.glob("checkpoints/step-*"))[-1])
    return whole


def without_speed(values):
    return [{name: value for name, value in line.items() if name != "images_per_second"} for line in values]


def check_same(expected, directory, log):
    (trained,) = log(directory, "trained")
    assert trained["digest"] == expected["digest"]
    assert [event["step"] for event in log(directory, "step")] == STEPS, "each step once, in order"
    values = [event["values"] for event in log(directory, "step")]
    assert without_speed(values) == without_speed(expected["values"])
    tensors = load_file(sorted(directory.glob("checkpoints/step-*"))[-1])
    assert tensors.keys() == expected["tensors"].keys()
    assert all(tensors[name].equal(expected["tensors"][name]) for name in tensors), "including critics and optimizers"


def test_two_runs_of_one_recipe_are_identical(expected, killable, shell, log):
    child = shell("run", killable)
    assert child.process.exitcode == 0, child.out
    check_same(expected, shell.run_directory("cut"), log)


def test_another_seed_gives_another_digest(expected, killable, shell, log):
    shell("run", killable, "--set", "seed=1")
    (trained,) = log(shell.run_directory("cut"), "trained")
    assert trained["digest"] != expected["digest"]


@pytest.mark.parametrize("moment", ["step:1", "checkpoint:3", "step:5", "validated:6", "checkpoint:10"])
def test_a_killed_run_resumes_to_the_same_bits(expected, killable, shell, log, moment):
    child = shell("run", killable, STOP_AT=moment, STOP_BY="SIGKILL")
    assert child.process.exitcode == -signal.SIGKILL, child.out
    directory = shell.run_directory("cut")
    resumed = shell("run", killable, "--resume")
    assert resumed.process.exitcode == 0, resumed.out
    check_same(expected, directory, log)


def test_a_run_killed_three_times_resumes_to_the_same_bits(expected, killable, shell, log):
    shell("run", killable, STOP_AT="step:2", STOP_BY="SIGKILL")
    for moment in ("step:4", "step:8"):
        child = shell("run", killable, "--resume", STOP_AT=moment, STOP_BY="SIGKILL")
        assert child.process.exitcode == -signal.SIGKILL, child.out
    assert shell("run", killable, "--resume").process.exitcode == 0
    check_same(expected, shell.run_directory("cut"), log)


def test_an_incomplete_line_of_the_log_is_dropped(expected, killable, shell, log):
    shell("run", killable, STOP_AT="step:5", STOP_BY="SIGKILL")
    directory = shell.run_directory("cut")
    with (directory / "log.jsonl").open("a") as file:
        file.write('{"event": "step", "st')
    assert shell("run", killable, "--resume").process.exitcode == 0
    check_same(expected, directory, log)


@pytest.mark.parametrize(("name", "moment"), [("SIGINT", "step:5"), ("SIGTERM", "step:1"), ("SIGTERM", "validated:10")])
def test_a_signal_saves_the_run_and_prints_the_command_that_resumes_it(expected, killable, shell, log, name, moment):
    child = shell("run", killable, STOP_AT=moment, STOP_BY=name)
    directory = shell.run_directory("cut")
    assert child.process.exitcode == 128 + getattr(signal, name), child.out
    assert "Traceback" not in child.out
    command = f"enface run {directory.relative_to(shell.folder)} --resume"
    assert command in child.out
    assert f"stopped by {name}" in child.out
    step = int(moment.partition(":")[2])
    assert (directory / "checkpoints" / f"step-{step:08d}.safetensors").is_file(), "it stops after the current step"
    assert not log(directory, "trained")
    resumed = shell(*command.split()[1:])
    assert resumed.process.exitcode == 0, resumed.out
    check_same(expected, directory, log)


def test_a_signal_of_another_process_saves_the_run(expected, killable, shell, log, until):
    child = shell.start("run", killable, "--set", "stages.main.steps=100000")
    runs = shell.folder / "runs" / "cut"
    until(lambda: any(path.stat().st_size > 600 for path in runs.glob("*/log.jsonl")))
    child.signal(signal.SIGTERM)
    assert child.wait(30) == 143
    assert list(shell.run_directory("cut").glob("checkpoints/step-*"))


def test_a_run_that_another_process_trains_is_refused(expected, killable, shell, log):
    shell("run", killable, STOP_AT="checkpoint:3", STOP_BY="SIGKILL")
    directory = shell.run_directory("cut")
    before = (directory / "log.jsonl").read_bytes()
    with hold_lock(directory / LOCK_FILE, ""):
        refused = shell("run", killable, "--resume")
    assert refused.process.exitcode == 2, refused.out
    assert f"error: {directory.relative_to(shell.folder)}: another process is training this run" in refused.out
    assert (directory / "log.jsonl").read_bytes() == before
    assert shell("run", killable, "--resume").process.exitcode == 0
    check_same(expected, directory, log)


def test_a_finished_run_is_only_evaluated_again(expected, killable, shell, log):
    shell("run", killable)
    directory = shell.run_directory("cut")
    resumed = shell("run", killable, "--resume")
    assert resumed.process.exitcode == 0, resumed.out
    assert log(directory, "trained")[-1]["digest"] == expected["digest"]
    assert [event["step"] for event in log(directory, "step")] == STEPS


# ------------------------------------------------------------------ runs that cannot be resumed


@pytest.fixture(scope="module")
def halted():
    """Files of a run stopped at step 5, which is trained once."""
    return {}


@pytest.fixture
def stopped(halted, killable, shell, tmp_path):
    """A copy of a run stopped at step 5: its directory and its latest checkpoint."""
    directory = tmp_path / "halted" / "cut" / "once"
    if not halted:
        shell("run", killable, STOP_AT="step:5", STOP_BY="SIGTERM")
        halted["files"] = {
            path.relative_to(shell.run_directory("cut")): path.read_bytes()
            for path in shell.run_directory("cut").rglob("*")
            if path.is_file()
        }
        halted["plugin"] = str(tmp_path / "killer.py")
    for name, content in halted["files"].items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_bytes(content)
    (path,) = directory.glob("checkpoints/step-00000005*")
    return directory, path


def refused(enface, *arguments):
    outcome = enface("run", *arguments, "--resume")
    assert outcome.code == 2
    assert "Traceback" not in outcome.err + outcome.out
    return outcome.err


def test_a_truncated_checkpoint_is_named(stopped, enface):
    directory, path = stopped
    path.write_bytes(path.read_bytes()[:-100])
    assert f"{path} is truncated or damaged" in refused(enface, directory)


def test_a_checkpoint_of_a_newer_format_is_refused(stopped, enface):
    directory, path = stopped
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        state = json.loads(file.metadata()["enface"])
    save_file(load_file(path), path, {"enface": json.dumps({**state, "format": 99})})
    message = refused(enface, directory)
    assert str(path) in message
    assert "newer" in message


def test_a_file_that_is_not_a_checkpoint_is_refused(stopped, enface):
    directory, path = stopped
    save_file(load_file(path), path)
    assert f"{path} is not a checkpoint of enface" in refused(enface, directory)


def test_a_checkpoint_of_another_recipe_is_refused(stopped, enface):
    directory, path = stopped
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        state = json.loads(file.metadata()["enface"])
    save_file(load_file(path), path, {"enface": json.dumps({**state, "recipe": "0" * 16})})
    assert f"{path} was made by another recipe" in refused(enface, directory)


def test_another_recipe_is_refused_and_the_differing_keys_are_named(stopped, enface):
    message = refused(enface, stopped[0], "--set", "stages.game.terms.gan.weight=0.2", "--set", "seed=3")
    assert "made by another recipe; different: seed, stages.game.terms.gan.weight" in message


def test_keys_that_do_not_affect_training_may_change(stopped, shell, log):
    directory, _ = stopped
    child = shell("run", directory, "--resume", "--set", "log.every=5", "--set", "metrics=[mae, psnr]")
    assert child.process.exitcode == 0, child.out
    assert [event["step"] for event in log(directory, "step")] == [1, 2, 3, 4, 5, 10]


def test_resuming_without_a_run_is_refused(killable, enface, tmp_path):
    message = refused(enface, killable, "--runs", tmp_path / "nowhere")
    assert "no run of 'cut' under" in message
    assert "without --resume" in message
