"""Two processes split one stream of batches and train the same network as one process."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image
from safetensors.torch import load_file

from enface.errors import RecipeError
from enface.system.locks import LOCK_FILE, hold_lock
from enface_tools.launch.processes import check_processes

RECIPE = {
    "name": "pair",
    "stages": {
        # SGD, because Adam divides by the gradient's size: rounding errors of small gradients become as large as steps.
        "main": {
            "steps": 3,
            "batch": 16,
            # BatchNorm is trained here, so it matters which images are in the same part.
            "accumulate": 2,
            "optimizer": {"use": "sgd", "lr": 0.02},
            "terms": {"l1": {}, "charbonnier": {}},
        },
        "game": {
            "steps": 4,
            "batch": 8,
            "accumulate": 2,
            "ema": 0.9,
            "clip": 1.0,
            "freeze": ["encoder"],
            "optimizer": {"use": "sgd", "lr": 0.01},
            "discriminators": {
                # With BatchNorm, R1's second derivative depends on the images of the other process.
                "patch": {
                    "use": "patch_gan",
                    "width": 4,
                    "layers": 2,
                    "norm": "batch",
                    "optimizer": {"use": "sgd", "lr": 0.01},
                }
            },
            "terms": {
                "l1": {},
                "gan": {"use": "hinge", "against": "patch", "weight": 0.1},
                "r1": {"against": "patch", "every": 2},
            },
        },
        "pairs": {
            "steps": 2,
            "batch": 8,
            "optimizer": {"use": "sgd", "lr": 0.01},
            "terms": {
                "l1": {},
                "pair": {
                    "use": "contrastive",
                    "weight": 0.01,
                    "inputs": {"a": "identity_code", "b": "partner_identity_code", "same": "same_identity"},
                },
            },
        },
    },
    "metrics": ["mae", "psnr"],
    "evaluation": {"batch": 3, "stages": True, "pictures": True},
    "log": {"every": 1, "validate": 2, "best": "mae", "checkpoint": 3, "keep": 9},
    "engine": {"device": "cpu", "precision": "fp32"},
}
STEPS = list(range(1, 10))
# Sends a signal at a step without a checkpoint: to the main process, to the other one, or to their launcher.
KILLER = """
import os
import signal
import time

from enface import hookimpl


TARGET, _, NUMBER = os.environ.get("END", "").partition(":")


@hookimpl
def step_ended(run, step):
    if str(run.step) == NUMBER and TARGET in ("main", "parent"):
        os.kill(os.getpid() if TARGET == "main" else os.getppid(), getattr(signal, os.environ["END_BY"]))
        # Wait, because the few remaining steps may end before the launcher forwards the signal.
        deadline = time.monotonic() + 60
        while TARGET == "parent" and not received and time.monotonic() < deadline:
            time.sleep(0.02)


if TARGET == "parent":
    from enface.training.trainer import Trainer

    received, original = [], Trainer._ask_to_stop

    def ask_to_stop(self, number):
        received.append(number)
        original(self, number)

    Trainer._ask_to_stop = ask_to_stop


if TARGET == "other" and os.environ.get("RANK") == "1":
    # Observers are called on the main process only.
    from enface.training.trainer import Trainer

    original = Trainer._one_step

    def one_step(self, *arguments):
        if str(self.run.step) == NUMBER:
            os.kill(os.getpid(), getattr(signal, os.environ["END_BY"]))
        return original(self, *arguments)

    Trainer._one_step = one_step
"""


def events(directory, kind):
    lines = [json.loads(line) for line in (directory / "log.jsonl").read_text().splitlines()]
    return [line for line in lines if line["event"] == kind]


def steps(directory):
    return events(directory, "step")


def finished(command, folder, **env):
    """Run a command to its end; return the completed process."""
    return subprocess.run(
        [sys.executable, "-m", *map(str, command)],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=170,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1", **env},
    )


def succeeded(*command, folder):
    """Run a command that must succeed; return the completed process."""
    process = finished(command, folder)
    assert process.returncode == 0, process.stderr[-4000:]
    return process


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("processes")
    support = Path(__file__).parents[2] / "support"
    (folder / "killer.py").write_text(KILLER)
    plugins = [str(support / "toy_faces.py"), "killer.py"]
    # One identity more than in other tests: no pack is cached, so the two processes must agree on which one makes it.
    data = {"lights": 1, "identities": 6}
    content = {"extends": str(support / "toy.yaml"), **RECIPE, "data": data, "plugins": plugins}
    (folder / "pair.yaml").write_text(yaml.safe_dump(content))
    return folder


@pytest.fixture(scope="module")
def runs(folder):
    """Run directories and completed processes of one recipe: with one process, two, and another memory format.

    Adversarial training amplifies rounding errors from step to step. The run in the other memory format measures by how
    much: it computes the same and rounds differently.
    """
    run = ("enface", "run", "pair.yaml")
    processes = {2: succeeded(*run, "--processes", 2, "--runs", "two", folder=folder)}
    processes[1] = succeeded(*run, "--runs", "one", folder=folder)
    other = ("--set", "engine.channels_last=false")
    processes["rounded"] = succeeded(*run, "--runs", "rounded", *other, folder=folder)
    names = {1: "one", 2: "two", "rounded": "rounded"}
    return {key: (next((folder / name / "pair").iterdir()), processes[key]) for key, name in names.items()}


def check_same_weights(runs, directory):
    one, rounded, two = (
        load_file(sorted(folder.glob("checkpoints/step-*"))[-1])
        for folder in (runs[1][0], runs["rounded"][0], directory)
    )
    assert one.keys() == two.keys()
    difference, rounding = (
        {
            name: float((other[name].float() - value.float()).abs().max() / (value.abs().max() + 1e-3))
            for name, value in one.items()
        }
        for other in (two, rounded)
    )
    assert max(rounding.values()) < 0.03
    assert max(difference.values()) <= 3 * max(rounding.values()) + 1e-5, max(difference, key=difference.__getitem__)


def test_processes_end_a_stage_early_at_the_same_step(folder):
    stop = "stages.main.stop={metric: mae, patience: 1, min_delta: 1, restore: best}"
    run = ("enface", "run", "pair.yaml", "--set", stop, "--set", "stages.main.steps=20")
    succeeded(*run, "--processes", 2, "--runs", "early", folder=folder)
    (directory,) = (folder / "early" / "pair").iterdir()
    # Validations at steps 2 and 4; none improves by 1.
    (event,) = events(directory, "stopped_early")
    assert (event["stage"], event["step"]) == ("main", 4)
    started = [(line["stage"], line["step"]) for line in events(directory, "stage_started")]
    assert started[:2] == [("main", 0), (started[1][0], 4)]


def test_losses_equal_those_of_one_process(runs):
    one, two, rounded = (steps(runs[key][0]) for key in (1, 2, "rounded"))
    assert [line["step"] for line in two] == [line["step"] for line in one] == STEPS
    for first, second, third in zip(one, two, rounded, strict=True):
        difference, rounding = (
            {
                name: abs(line["values"][name] - value) / (abs(value) + 1e-3)
                for name, value in first["values"].items()
                if name != "images_per_second"
            }
            for line in (second, third)
        )
        assert max(rounding.values()) < 0.01
        assert max(difference.values()) <= 3 * max(rounding.values()) + 1e-5, (first["step"], difference)


def test_weights_averages_and_statistics_equal_those_of_one_process(runs):
    check_same_weights(runs, runs[2][0])


def test_the_compared_stage_applies_r1_freezing_and_averaging(runs):
    game = [line for line in steps(runs[2][0]) if line["stage"] == "game"]
    assert ["term/patch.r1" in line["values"] for line in game] == [True, False, True, False]
    before, after = (load_file(runs[2][0] / "checkpoints" / f"step-{step:08}.safetensors") for step in (3, 7))
    encoder = [name for name in before if name.startswith("generator/encoder")]
    assert encoder
    assert all(before[name].equal(after[name]) for name in encoder)
    assert any(name.startswith("ema/") for name in after)


def test_only_one_process_prints_and_writes(runs):
    directory, process = runs[2]
    assert process.stdout.count("report: ") == 1
    assert process.stdout.count("run: ") == 1
    assert not process.stderr
    assert len(list(directory.parent.iterdir())) == 1
    checkpoints = [line["path"] for line in events(directory, "checkpoint")]
    assert len(checkpoints) == len(set(checkpoints))
    environment = json.loads((directory / "environment.json").read_text())
    assert environment["processes"] == 2


def test_an_evaluation_distributed_over_two_processes_equals_that_of_one(runs):
    """Batches of 3 of 4 images: one process has fewer images than the other."""
    one, two = (runs[count][0] / "evaluation" for count in (1, 2))
    names = sorted(str(path.relative_to(one)) for path in one.rglob("*") if path.is_file())
    assert sorted(str(path.relative_to(two)) for path in two.rglob("*") if path.is_file()) == names
    for name in ("images.csv", "source.csv", "mean_target.csv", "val/stages/game.csv"):
        first, second = pd.read_csv(one / name), pd.read_csv(two / name)
        # Five images, of which one is its own target.
        assert len(first) == 4
        exact = {"rtol": 1e-6} if name in ("source.csv", "mean_target.csv") else {"rtol": 0.02}
        pd.testing.assert_frame_equal(first, second, **exact)
    for first, second in zip(events(runs[1][0], "validated"), events(runs[2][0], "validated"), strict=True):
        assert second["step"] == first["step"]
        assert second["values"] == pytest.approx(first["values"], rel=0.02)
    pictures = json.loads((two / "pictures.json").read_text())
    assert pictures == json.loads((one / "pictures.json").read_text())
    for role, spread in (("source", 5), ("output", 1)):
        sprites = [np.asarray(Image.open(path / "pictures" / f"000-{role}.webp"), dtype=float) for path in (one, two)]
        assert sprites[0].std() > spread
        assert np.abs(sprites[0] - sprites[1]).mean() < 2


@pytest.mark.parametrize("options", [[], ["--checkpoint", "all", "--raw"]], ids=["latest", "all"])
def test_two_processes_evaluate_a_run_like_one(runs, folder, enface, monkeypatch, options):
    monkeypatch.chdir(folder)
    output, written = {}, {}
    for count in (1, 2):
        directory = folder / f"evaluate-{len(options)}-{count}"
        shutil.copytree(runs[1][0], directory, ignore=shutil.ignore_patterns("evaluation", "best*", "*2.safetensors"))
        command = ("evaluate", directory, *options)
        if count == 2:
            process = succeeded("enface", *command, "--processes", count, folder=folder)
            assert not process.stderr
            output[count] = process.stdout.replace(str(directory), "RUN")
        else:
            output[count] = enface(*command).out.replace(str(directory), "RUN")
        paths = [path for path in directory.glob("evaluation/**/*") if path.is_file()]
        written[count] = {str(path.relative_to(directory / "evaluation")): path.read_bytes() for path in paths}
    assert output[1] == output[2]
    assert output[2]
    assert written[1] == written[2]
    assert ("val/checkpoints.json" in written[2]) == bool(options)
    assert ("val/stages.json" in written[2]) == (not options)
    assert any(name.endswith("pictures.json") for name in written[2])


@pytest.fixture(scope="module")
def killed(folder):
    """The directory and the completed process of a run whose main process was killed at step 5."""
    command = ("enface", "run", "pair.yaml", "--processes", 2, "--runs", "killed")
    process = finished(command, folder, END="main:5", END_BY="SIGKILL")
    (directory,) = (folder / "killed" / "pair").iterdir()
    return directory, process


def test_a_killed_process_ends_the_others_and_the_command_that_resumes_is_printed(killed, folder):
    directory, process = killed
    assert process.returncode == 1
    assert process.stderr.count("\n") == 1, process.stderr
    assert "process 0 of 2 was killed by SIGKILL" in process.stderr
    assert f"enface run {directory.relative_to(folder)} --resume --processes 2" in process.stderr


def test_a_killed_process_other_than_the_main_one_is_named(folder):
    command = ("enface", "run", "pair.yaml", "--processes", 2, "--runs", "killed-other")
    process = finished(command, folder, END="other:5", END_BY="SIGKILL")
    (directory,) = (folder / "killed-other" / "pair").iterdir()
    assert process.returncode == 1
    assert process.stderr.count("\n") == 1, process.stderr
    assert "process 1 of 2 was killed by SIGKILL" in process.stderr
    assert [line["step"] for line in events(directory, "checkpoint")] == [2, 3, 4]
    assert f"enface run {directory.relative_to(folder)} --resume --processes 2" in process.stderr


def test_one_process_resumes_a_killed_run_of_two(killed, runs, folder):
    directory, _ = killed
    succeeded("enface", "run", directory, "--resume", folder=folder)
    assert [line["step"] for line in steps(directory)] == STEPS
    check_same_weights(runs, directory)


def test_a_signal_saves_once_and_two_processes_resume_a_run_of_one(runs, folder):
    directory = folder / "signal" / "pair" / "1"
    shutil.copytree(runs[1][0], directory)
    for path in directory.glob("checkpoints/*"):
        if path.stem != "step-00000003":
            path.unlink()
    command = f"enface run {directory.relative_to(folder)} --resume --processes 2"
    # A terminal's Ctrl-C reaches the launcher only.
    process = finished(command.split(), folder, END="parent:5", END_BY="SIGINT")
    assert process.returncode == 130, process.stderr
    assert not process.stderr
    assert process.stdout.count(f"stopped by SIGINT; everything is saved. Resume with: {command}\n") == 1
    assert 5 <= events(directory, "checkpoint")[-1]["step"] < 9
    succeeded(*command.split(), folder=folder)
    assert [line["step"] for line in steps(directory)] == STEPS
    check_same_weights(runs, directory)


def test_a_run_that_another_process_trains_is_refused_with_one_message(runs, folder):
    directory = runs[1][0]
    with hold_lock(directory / LOCK_FILE, ""):
        command = ("enface", "run", directory.relative_to(folder), "--resume", "--processes", 2)
        process = finished(command, folder)
    assert process.returncode == 2
    assert "another process is training this run" in process.stderr
    assert process.stderr.count("\n") == 1, process.stderr


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["pair.yaml", "--set", "stages.main.stepz=1"], "stepz"),
        (["pair.yaml", "--set", "stages.main.batch=18"], "18 images cannot be split evenly over 2 processes x 2 parts"),
    ],
    ids=["before the processes start", "in each process"],
)
def test_a_mistake_is_reported_once_and_without_a_traceback(folder, arguments, text):
    process = finished(("enface", "run", *arguments, "--processes", 2, "--runs", "mistakes"), folder)
    assert process.returncode == 2
    assert process.stderr.startswith("error: ")
    assert text in process.stderr
    assert process.stderr.count("\n") == 1, process.stderr


def test_more_processes_than_gpus_are_refused(monkeypatch):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    with pytest.raises(RecipeError, match="request at most 2, or --set engine"):
        check_processes(3, "auto")
    check_processes(2, "auto")
    check_processes(3, "cpu")


def test_processes_under_another_launcher_are_refused(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(RecipeError, match="omit it under torchrun"):
        check_processes(2, "cpu")
