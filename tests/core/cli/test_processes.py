"""Two processes see one stream of batches split in two, and learn what one learns."""

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
        # Adam divides by the gradient's size, and so makes rounding errors of small gradients as large as steps.
        "main": {
            "steps": 3,
            "batch": 16,
            # Here BatchNorm learns, so it matters which images are in a part together.
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
                # With BatchNorm, R1's second derivative goes through the other process's images.
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
    "metrics": ["l1", "psnr"],
    "evaluation": {"batch": 4, "stages": True, "pictures": True},
    "log": {"every": 1, "validate": 2, "best": "l1", "checkpoint": 3, "keep": 9},
    "engine": {"device": "cpu", "precision": "fp32"},
}
STEPS = list(range(1, 10))
# Ends a process at a step that is no checkpoint's: the one of a rank, or, by a signal, the launcher of them all.
KILLER = """
import os
import signal
import time

from enface import hookimpl


WHOM, _, NUMBER = os.environ.get("END", "").partition(":")


@hookimpl
def step_ended(run, step):
    if str(run.step) == NUMBER and WHOM in ("main", "parent"):
        os.kill(os.getpid() if WHOM == "main" else os.getppid(), getattr(signal, os.environ["END_BY"]))
        # The few steps that are left may else have ended before the launcher passes it on.
        until = time.monotonic() + 60
        while WHOM == "parent" and not asked and time.monotonic() < until:
            time.sleep(0.02)


if WHOM == "parent":
    from enface.training.trainer import Trainer

    asked, stop = [], Trainer._ask_to_stop

    def ask_to_stop(self, number):
        asked.append(number)
        stop(self, number)

    Trainer._ask_to_stop = ask_to_stop


if WHOM == "other" and os.environ.get("RANK") == "1":
    # Observers are told of steps in the main process only.
    from enface.training.trainer import Trainer

    taken = Trainer._one_step

    def last(self, *words):
        if str(self.run.step) == NUMBER:
            os.kill(os.getpid(), getattr(signal, os.environ["END_BY"]))
        return taken(self, *words)

    Trainer._one_step = last
"""


def events(directory, kind):
    lines = [json.loads(line) for line in (directory / "log.jsonl").read_text().splitlines()]
    return [line for line in lines if line["event"] == kind]


def steps(directory):
    return events(directory, "step")


def started(command, folder, **env):
    return subprocess.run(
        [sys.executable, "-m", *map(str, command)],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=170,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1", **env},
    )


def ran(*command, folder):
    found = started(command, folder)
    assert found.returncode == 0, found.stderr[-4000:]
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("processes")
    support = Path(__file__).parents[2] / "support"
    (folder / "killer.py").write_text(KILLER)
    plugins = [str(support / "toy_faces.py"), "killer.py"]
    # An identity more than other tests have: two processes find no pack and must agree on who makes it.
    data = {"lights": 1, "identities": 6}
    content = {"extends": str(support / "toy.yaml"), **RECIPE, "data": data, "plugins": plugins}
    (folder / "pair.yaml").write_text(yaml.safe_dump(content))
    return folder


@pytest.fixture(scope="module")
def runs(folder):
    """The same recipe by one process, by one in another memory format, and by two: directories and what was said.

    A game makes rounding grow from step to step. How much it grows is seen from the one in another memory format, which
    computes the same and rounds in other places.
    """
    found = {2: ran("enface", "run", "pair.yaml", "--processes", 2, "--runs", "two", folder=folder)}
    found[1] = ran("enface", "run", "pair.yaml", "--runs", "one", folder=folder)
    other = ("--set", "engine.channels_last=false")
    found["rounded"] = ran("enface", "run", "pair.yaml", "--runs", "rounded", *other, folder=folder)
    names = {1: "one", 2: "two", "rounded": "rounded"}
    return {key: (next((folder / name / "pair").iterdir()), found[key]) for key, name in names.items()}


def check_same_weights(runs, directory):
    one, rounded, two = (
        load_file(sorted(folder.glob("checkpoints/step-*"))[-1])
        for folder in (runs[1][0], runs["rounded"][0], directory)
    )
    assert one.keys() == two.keys()
    apart, by_rounding = (
        {
            name: float((other[name].float() - value.float()).abs().max() / (value.abs().max() + 1e-3))
            for name, value in one.items()
        }
        for other in (two, rounded)
    )
    assert max(by_rounding.values()) < 0.03
    assert max(apart.values()) <= 3 * max(by_rounding.values()) + 1e-5, max(apart, key=apart.__getitem__)


def test_losses_are_those_of_one_process(runs):
    one, two, rounded = (steps(runs[key][0]) for key in (1, 2, "rounded"))
    assert [line["step"] for line in two] == [line["step"] for line in one] == STEPS
    for first, second, third in zip(one, two, rounded, strict=True):
        apart, by_rounding = (
            {
                name: abs(line["values"][name] - value) / (abs(value) + 1e-3)
                for name, value in first["values"].items()
                if name != "images_per_second"
            }
            for line in (second, third)
        )
        assert max(by_rounding.values()) < 0.01
        assert max(apart.values()) <= 3 * max(by_rounding.values()) + 1e-5, (first["step"], apart)


def test_weights_averages_and_statistics_are_those_of_one_process(runs):
    check_same_weights(runs, runs[2][0])


def test_the_game_has_all_that_is_compared(runs):
    game = [line for line in steps(runs[2][0]) if line["stage"] == "game"]
    assert ["term/patch.r1" in line["values"] for line in game] == [True, False, True, False]
    before, after = (load_file(runs[2][0] / "checkpoints" / f"step-{step:08}.safetensors") for step in (3, 7))
    encoder = [name for name in before if name.startswith("generator/encoder")]
    assert encoder
    assert all(before[name].equal(after[name]) for name in encoder)
    assert any(name.startswith("ema/") for name in after)


def test_only_one_process_speaks_and_writes(runs):
    directory, found = runs[2]
    assert found.stdout.count("report: ") == 1
    assert found.stdout.count("run: ") == 1
    assert not found.stderr
    assert len(list(directory.parent.iterdir())) == 1
    saved = [line["path"] for line in events(directory, "checkpoint")]
    assert len(saved) == len(set(saved))
    environment = json.loads((directory / "environment.json").read_text())
    assert environment["processes"] == 2


def test_shares_of_an_evaluation_make_the_whole(runs):
    """Batches of 4 of 5 images: one process has less to do than the other."""
    one, two = (runs[count][0] / "evaluation" for count in (1, 2))
    names = sorted(str(path.relative_to(one)) for path in one.rglob("*") if path.is_file())
    assert sorted(str(path.relative_to(two)) for path in two.rglob("*") if path.is_file()) == names
    for name in ("images.csv", "source.csv", "mean_target.csv", "stages/game.csv"):
        first, second = pd.read_csv(one / name), pd.read_csv(two / name)
        assert len(first) == 5
        exact = {"rtol": 1e-6} if name in ("source.csv", "mean_target.csv") else {"rtol": 0.02}
        pd.testing.assert_frame_equal(first, second, **exact)
    for first, second in zip(events(runs[1][0], "validated"), events(runs[2][0], "validated"), strict=True):
        assert second["step"] == first["step"]
        assert second["values"] == pytest.approx(first["values"], rel=0.02)
    pictures = json.loads((two / "pictures.json").read_text())
    assert pictures == json.loads((one / "pictures.json").read_text())
    sprites = [np.asarray(Image.open(path / "pictures" / "000.webp"), dtype=float) for path in (one, two)]
    assert sprites[0].std() > 5
    assert np.abs(sprites[0] - sprites[1]).mean() < 2


@pytest.mark.parametrize("words", [[], ["--checkpoint", "all", "--raw"]], ids=["the last", "all of them"])
def test_two_processes_evaluate_a_run_as_one_does(runs, folder, enface, monkeypatch, words):
    monkeypatch.chdir(folder)
    said, written = {}, {}
    for count in (1, 2):
        directory = folder / f"evaluate-{len(words)}-{count}"
        shutil.copytree(runs[1][0], directory, ignore=shutil.ignore_patterns("evaluation", "best*", "*2.safetensors"))
        command = ("evaluate", directory, *words)
        if count == 2:
            told = ran("enface", *command, "--processes", count, folder=folder)
            assert not told.stderr
            said[count] = told.stdout.replace(str(directory), "RUN")
        else:
            said[count] = enface(*command).out.replace(str(directory), "RUN")
        paths = [path for path in directory.glob("evaluation/**/*") if path.is_file()]
        written[count] = {str(path.relative_to(directory)): path.read_bytes() for path in paths}
    assert said[1] == said[2]
    assert said[2]
    assert written[1] == written[2]
    assert ("evaluation/checkpoints.json" in written[2]) == bool(words)
    assert ("evaluation/stages.json" in written[2]) == (not words)
    assert any(name.endswith("pictures.json") for name in written[2])


@pytest.fixture(scope="module")
def killed(folder):
    """A run whose main process was killed at step 5; what was said."""
    words = ("enface", "run", "pair.yaml", "--processes", 2, "--runs", "killed")
    found = started(words, folder, END="main:5", END_BY="SIGKILL")
    (directory,) = (folder / "killed" / "pair").iterdir()
    return directory, found


def test_a_killed_process_ends_the_others_and_says_how_to_go_on(killed, folder):
    directory, found = killed
    assert found.returncode == 1
    assert found.stderr.count("\n") == 1, found.stderr
    assert "process 0 of 2 was killed by SIGKILL" in found.stderr
    assert f"enface run {directory.relative_to(folder)} --resume --processes 2" in found.stderr


def test_a_killed_process_that_is_not_the_main_one_is_named_too(folder):
    words = ("enface", "run", "pair.yaml", "--processes", 2, "--runs", "killed-other")
    found = started(words, folder, END="other:5", END_BY="SIGKILL")
    (directory,) = (folder / "killed-other" / "pair").iterdir()
    assert found.returncode == 1
    assert found.stderr.count("\n") == 1, found.stderr
    assert "process 1 of 2 was killed by SIGKILL" in found.stderr
    assert [line["step"] for line in events(directory, "checkpoint")] == [2, 3, 4]
    assert f"enface run {directory.relative_to(folder)} --resume --processes 2" in found.stderr


def test_one_process_goes_on_where_two_were_killed(killed, runs, folder):
    directory, _ = killed
    ran("enface", "run", directory, "--resume", folder=folder)
    assert [line["step"] for line in steps(directory)] == STEPS
    check_same_weights(runs, directory)


def test_a_signal_saves_once_and_two_processes_go_on_with_what_one_began(runs, folder):
    directory = folder / "signal" / "pair" / "1"
    shutil.copytree(runs[1][0], directory)
    for path in directory.glob("checkpoints/*"):
        if path.stem != "step-00000003":
            path.unlink()
    words = ("enface", "run", directory.relative_to(folder), "--resume", "--processes", 2)
    # The launcher: a terminal's Ctrl-C reaches only that.
    found = started(words, folder, END="parent:5", END_BY="SIGINT")
    assert found.returncode == 130, found.stderr
    assert not found.stderr
    command = f"enface run {directory.relative_to(folder)} --resume --processes 2"
    assert found.stdout.count(f"stopped by SIGINT; everything is saved. Go on with: {command}\n") == 1
    assert 5 <= events(directory, "checkpoint")[-1]["step"] < 9
    ran(*command.split(), folder=folder)
    assert [line["step"] for line in steps(directory)] == STEPS
    check_same_weights(runs, directory)


def test_a_run_that_another_process_trains_is_refused_to_all_of_them(runs, folder):
    directory = runs[1][0]
    with hold_lock(directory / LOCK_FILE, ""):
        words = ("enface", "run", directory.relative_to(folder), "--resume", "--processes", 2)
        found = started(words, folder)
    assert found.returncode == 2
    assert "another process is training this run" in found.stderr
    assert found.stderr.count("\n") == 1, found.stderr


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["pair.yaml", "--set", "stages.main.stepz=1"], "stepz"),
        (["pair.yaml", "--set", "stages.main.batch=18"], "18 images cannot be split evenly over 2 processes x 2 parts"),
    ],
    ids=["before they start", "in each of them"],
)
def test_a_mistake_is_told_once_and_without_a_traceback(folder, words, text):
    found = started(("enface", "run", *words, "--processes", 2, "--runs", "mistakes"), folder)
    assert found.returncode == 2
    assert found.stderr.startswith("error: ")
    assert text in found.stderr
    assert found.stderr.count("\n") == 1, found.stderr


def test_more_processes_than_gpus_is_a_mistake(monkeypatch):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    with pytest.raises(RecipeError, match="request at most 2, or --set engine"):
        check_processes(3, "auto")
    check_processes(2, "auto")
    check_processes(3, "cpu")


def test_a_launcher_under_a_launcher_is_a_mistake(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(RecipeError, match="leave it out under torchrun"):
        check_processes(2, "cpu")
