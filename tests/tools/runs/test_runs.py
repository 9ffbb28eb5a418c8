"""``enface runs``: the states of runs, their table, and its order."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time

import pytest

from enface.system.locks import LOCK_FILE, hold_lock
from enface_tools.runs.records import TAIL, read_record

START = 1_700_000_000.0
"""As in the fixture ``write``."""


STEP = ("step", 20, {})
EVALUATED, VALIDATED = (("evaluated", 50, {"split": split}) for split in ("test", "val"))


@pytest.mark.parametrize(
    ("events", "state", "step", "seconds"),
    [
        (["stage_started", STEP, "trained", VALIDATED, EVALUATED, "reported"], "finished", 50, 20),
        (["stage_started", STEP, ("interrupted", 21, {})], "interrupted", 21, 20),
        # Evaluating a checkpoint of an interrupted run does not finish it.
        (["stage_started", STEP, ("interrupted", 21, {}), EVALUATED, "reported"], "interrupted", 21, 20),
        (["stage_started", ("non_finite", 7, {})], "failed", 7, 10),
        (["stage_started", STEP], "died", 20, 10),
        # Killed during the evaluation of the test people.
        (["stage_started", STEP, "trained", VALIDATED], "died", 50, 20),
        ([], "died", 0, None),
        # Resumed after an interruption, then killed.
        (["stage_started", ("interrupted", 10, {}), STEP], "died", 20, 20),
    ],
)
def test_the_log_decides_the_state(write, events, state, step, seconds):
    record = read_record(write("a/1", events))
    assert (record.state, record.step, record.steps, record.seconds) == (state, step, 50, seconds)


def test_a_recipe_that_leaves_test_people_closed_ends_with_the_validation_people(write):
    events = ["stage_started", "trained", VALIDATED, "reported"]
    assert read_record(write("a/1", events, asked="val")).state == "finished"
    assert read_record(write("a/2", events, asked="test")).state == "died"


def test_a_run_whose_lock_is_held_is_training(write):
    run = write("a/1", ["stage_started", STEP])
    with hold_lock(run / LOCK_FILE, ""):
        record = read_record(run)
    assert record.state == "training"
    assert record.seconds == pytest.approx(time.time() - START, abs=60)
    assert read_record(run).state == "died"


def test_many_later_evaluations_do_not_hide_the_end_of_training(write):
    many = [("evaluated", 50, {"split": "val", "values": {"mae": 0.1}, "filling": "x" * 1000})] * (TAIL // 900)
    assert read_record(write("a/1", ["trained", EVALUATED, *many])).state == "finished"
    assert (
        read_record(write("a/2", [("interrupted", 20, {}), *[("evaluated", 20, many[0][2])] * len(many)])).state
        == "died"
    )


def test_half_a_line_and_a_damaged_recipe_are_survived(write):
    run = write("a/1", ["stage_started", STEP])
    with (run / "log.jsonl").open("a") as file:
        file.write('{"event": "st')
    assert read_record(run).step == 20
    (run / "recipe.yaml").write_text("stages: [")
    assert read_record(run).state == "damaged"


def test_the_table(enface, write):
    finished = ["stage_started", STEP, "trained", EVALUATED]
    write("a/20260101-100000", finished, {"mae": 0.1, "lpips": 0.3, "ssim": 0.71}, best="mae")
    write("long_name/20260102-100000", [STEP, ("interrupted", 21, {})], {"ssim": 0.8, "lpips": 0.25})
    write("a/20260103-100000", [STEP])
    outcome = enface("runs")
    assert outcome.code == 0, outcome.err
    assert outcome.out.splitlines() == [
        "3 runs below runs; metrics of val people",
        "name       id               state         step    ssim   lpips     mae  time",
        "a          20260103-100000  died         20/50       -       -       -  0:00",
        "long_name  20260102-100000  interrupted  21/50  0.8000  0.2500       -  0:10",
        "a          20260101-100000  finished     50/50  0.7100  0.3000  0.1000  0:20",
    ]


def ids(text):
    return re.findall(r"^\w+ +(\d+)", text, re.M)


def test_runs_are_sorted_and_selected(enface, write):
    ideal = {"sharpness": {"higher_is_better": True, "ideal": 1.0}}
    for number, (name, lpips, sharpness) in enumerate([("b", 0.3, 1.4), ("a", 0.1, 0.5), ("b", 0.2, 0.9)]):
        write(
            f"{name}/{number}", ["trained"], {"lpips": lpips, "ssim": lpips, "sharpness": sharpness}, directions=ideal
        )
    write("a/3", ["trained"])
    assert ids(enface("runs").out) == ["3", "2", "1", "0"]
    assert ids(enface("runs", "--sort", "name").out) == ["3", "1", "2", "0"]
    assert ids(enface("runs", "--sort", "lpips").out) == ["1", "2", "0", "3"]
    assert ids(enface("runs", "--sort", "ssim").out) == ["0", "2", "1", "3"]
    by_sharpness = enface("runs", "--sort", "sharpness").out
    assert ids(by_sharpness) == ["2", "0", "1", "3"]
    assert by_sharpness.splitlines()[1].split()[-2:] == ["sharpness", "time"]
    assert ids(enface("runs", "--name", "b*").out) == ["2", "0"]


def test_the_split_is_test_only_if_no_run_measured_validation_people(enface, write):
    write("a/1", ["trained"], {"ssim": 0.5}, split="test")
    assert "metrics of test people" in enface("runs").out
    write("a/2", ["trained"], {"ssim": 0.6})
    outcome = enface("runs")
    assert "metrics of val people" in outcome.out
    assert "0.5000" not in outcome.out
    assert "0.5000" in enface("runs", "--split", "test").out


def test_json(enface, write):
    write("a/20260101-100000", ["stage_started", STEP, "trained", EVALUATED], {"ssim": 0.7})
    (row,) = json.loads(enface("runs", "--json").out)
    started = row.pop("started")
    assert row == {
        **{"name": "a", "id": "20260101-100000", "directory": "runs/a/20260101-100000", "state": "finished"},
        **{"step": 50, "steps": 50, "seconds": 20.0, "split": "val", "metrics": {"ssim": 0.7}},
    }
    assert started.startswith("2023-11-1")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--runs", "none"], "none holds no run; train one with: enface run RECIPE, or name another folder"),
        (["--name", "frontl"], "--name frontl: no run below runs has such a name; did you mean 'frontal'?"),
        (["--sort", "lpisp"], "--sort lpisp: no run has measured it on val people; did you mean lpips?"),
        (["--metric", "fid"], "--metric fid: no run has measured it on val people; measured: lpips"),
    ],
)
def test_mistakes(enface, write, arguments, message):
    write("frontal/1", ["trained"], {"lpips": 0.1})
    outcome = enface("runs", *arguments)
    assert outcome.code == 2
    assert message in outcome.err


def test_hundreds_of_runs_are_listed_without_torch(write, tmp_path):
    for number in range(300):
        write(f"a{number % 7}/{number}", ["stage_started", STEP, "trained", EVALUATED], {"ssim": number / 300})
    code = (
        "import sys, time\nfrom enface.cli import main\nsys.argv = ['enface', 'runs', '--sort', 'ssim']\n"
        "start = time.process_time()\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code\n"
        "print(time.process_time() - start, *{'torch', 'numpy', 'pandas'} & set(sys.modules), sep=',')\n"
    )
    process = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    lines = process.stdout.splitlines()
    assert ids(process.stdout)[:3] == ["299", "298", "297"]
    assert len(lines) == 303
    seconds, *slow_packages = lines[-1].split(",")
    assert not slow_packages
    assert float(seconds) < 4, "processor time, about 1 s"


@pytest.mark.parametrize("columns", [80, 120])
def test_on_a_terminal_no_cell_is_broken(write, tmp_path, columns):
    name = "a_recipe_whose_name_is_rather_long-steps1000"
    write(f"{name}/20260101-100000", ["trained", EVALUATED], {"ssim": 0.7, "lpips": 0.1, "mae": 0.2, "psnr": 21.5})
    command = [sys.executable, "-m", "enface", "runs", "--metric", "mae", "--metric", "psnr"]
    environment = {**os.environ, "COLUMNS": str(columns)}
    controller, terminal = os.openpty()
    process = subprocess.run(command, cwd=tmp_path, env={**environment, "TERM": "xterm"}, stdout=terminal, check=True)
    os.close(terminal)
    text = os.read(controller, 100_000).decode()
    os.close(controller)
    lines = re.sub(r"\x1b\[[0-9;]*m", "", text).splitlines()
    assert process.returncode == 0
    assert "\x1b[32mfinished" in text
    assert max(map(len, lines)) <= columns
    words = " ".join(lines).split()
    assert {name, "20260101-100000", "50/50", "0.7000", "0.1000"} <= set(words)
