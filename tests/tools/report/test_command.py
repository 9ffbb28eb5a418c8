"""The ``report`` command, and watching a run: the page is rewritten while it trains, and once at its end."""

from __future__ import annotations

import json
import signal
from threading import Thread

import pytest

from enface_tools.report import watch as watch_module
from enface_tools.report.progress import duration, read_progress
from enface_tools.report.run_page import write_report
from enface_tools.report.watch import watch


def add(run, **event):
    with (run / "log.jsonl").open("a") as file:
        file.write("\n" + json.dumps(event) + "\n")


def page(run):
    return (run / "report" / "index.html").read_text(encoding="utf-8")


def step(number):
    return {"event": "step", "step": number, "values": {"term/l1": 1 / number}}


@pytest.fixture
def run(tmp_path, evaluations):
    return evaluations.write_run(tmp_path / "run", [step(1)])


def test_the_page_follows_the_log_to_its_end(run, until):
    written = []
    watching = Thread(
        target=watch, args=(run,), kwargs={"every": 0.05, "refresh": 9, "written": written.append}, daemon=True
    )
    watching.start()
    until(lambda: written)
    assert 'data-refresh="9"' in page(run)
    add(run, **step(7777))
    until(lambda: "7777" in page(run))
    assert watching.is_alive()
    add(run, event="reported", step=7777)
    watching.join(20)
    assert not watching.is_alive()
    assert "data-refresh=" not in page(run)
    assert written == [run / "report" / "index.html"]


def test_nothing_is_written_while_nothing_happens(run, monkeypatch):
    looks, pages = [], []

    def look(seconds):
        looks.append(seconds)
        if len(looks) == 5:
            raise KeyboardInterrupt

    monkeypatch.setattr(watch_module.time, "sleep", look)
    monkeypatch.setattr(watch_module, "write_report", lambda directory, refresh=None: pages.append(refresh))
    with pytest.raises(KeyboardInterrupt):
        watch(run, refresh=9)
    # Once at the start, and a last one that does not load itself again.
    assert pages == [9, None]


@pytest.mark.parametrize("end", ["reported", "interrupted", "non_finite"])
def test_a_run_that_has_ended_is_not_watched(run, end):
    add(run, event=end, step=3)
    watch(run, every=1000)
    assert "data-refresh=" not in page(run)


def test_a_resumed_run_is_watched(run, monkeypatch):
    add(run, event="interrupted", step=3)
    add(run, **step(4))

    def end(_):
        add(run, event="reported", step=4)

    monkeypatch.setattr(watch_module.time, "sleep", end)
    seen = []
    watch(run, written=seen.append)
    assert seen


def started(name, time, step):
    return {"event": "stage_started", "time": time, "step": step, "stage": name, "stage_step": 0}


RECIPE = "name: x\nstages: {l1: {steps: 300}, cure: {steps: 100}}\n"


@pytest.mark.parametrize(
    ("events", "text"),
    [
        ([], "step 0 of 400, time left unknown before the first logged step"),
        ([started("l1", 1000, 0)], "step 0 of 400, time left unknown before the first logged step"),
        # 20 steps in 5 s: 380 steps in 95 s.
        ([started("l1", 1000, 0), step(20) | {"time": 1005}], "step 20 of 400, about 2 min left"),
        # The second stage is slower: 10 steps in 8 s, so that 90 take 72 s.
        (
            [
                started("l1", 1000, 0),
                step(300) | {"time": 1030},
                started("cure", 1031, 300),
                step(310) | {"time": 1039},
            ],
            "step 310 of 400, about 72 s left",
        ),
        # The pause before a run was resumed does not count.
        (
            [started("l1", 0, 0), step(100) | {"time": 10}, started("l1", 90000, 100), step(150) | {"time": 90005}],
            "step 150 of 400, about 25 s left",
        ),
        ([started("cure", 0, 300), step(400) | {"time": 10}], "step 400 of 400, about 0 s left"),
    ],
)
def test_step_total_and_time_left_are_shown_at_once(tmp_path, evaluations, events, text):
    run = evaluations.write_run(tmp_path / "run", events)
    (run / "recipe.yaml").write_text(RECIPE)
    assert read_progress(run).text == text
    assert text in write_report(run, refresh=5).read_text(encoding="utf-8")
    assert text not in write_report(run).read_text(encoding="utf-8"), "the run has ended"


@pytest.mark.parametrize(("seconds", "text"), [(89, "89 s"), (90, "2 min"), (5340, "89 min"), (5400, "1 h 30 min")])
def test_durations(seconds, text):
    assert duration(seconds) == text


@pytest.mark.parametrize("recipe", ["", "name: x", "stages: 3", "stages: {a: {}}", "{", "stages: {a: {steps: x}}"])
def test_a_recipe_without_stages_has_no_progress(tmp_path, recipe):
    (tmp_path / "recipe.yaml").write_text(recipe)
    assert read_progress(tmp_path) is None


# ------------------------------------------------------------------ the command


def test_a_report_is_written_of_a_run_and_of_pairs(enface, run, tmp_path, evaluations):
    outcome = enface("report", run)
    assert (outcome.code, outcome.out.strip()) == (0, f"report: {run}/report/index.html")
    pairs = evaluations.write_evaluation(tmp_path / "pairs", 3)
    assert enface("report", pairs).code == 0
    assert (pairs / "report" / "index.html").is_file()


def test_folders_without_a_report_are_refused(enface, tmp_path, evaluations):
    outcome = enface("report", tmp_path)
    assert outcome.code == 2
    assert f"{tmp_path} is not a run directory (it has no recipe.yaml), and holds no evaluation" in outcome.err
    outcome = enface("report", evaluations.write_evaluation(tmp_path / "pairs", 3), "--watch")
    assert outcome.code == 2
    assert "omit --watch" in outcome.err


def test_watching_ends_with_the_run(enface, run):
    add(run, event="reported", step=3)
    outcome = enface("report", run, "--watch")
    assert (outcome.code, outcome.out.strip()) == (0, f"the run has ended. report: {run}/report/index.html")


def test_watching_is_interrupted(shell, run, until):
    child = shell.start("report", run, "--watch")
    until(lambda: "watching the run" in child.out)
    child.signal(signal.SIGINT)
    assert child.wait(20) == 130
    assert "stopped watching" in child.out
    assert "Traceback" not in child.out
    assert "data-refresh=" not in page(run)


def test_a_run_logs_its_end(enface, recipe, tmp_path, monkeypatch, log):
    monkeypatch.chdir(tmp_path)
    assert enface("run", recipe({"name": "mine"})).code == 0
    (directory,) = (tmp_path / "runs" / "mine").iterdir()
    assert log(directory)[-1]["event"] == "reported"
    assert enface("report", directory, "--watch").code == 0
