"""The ``report`` command, and watching a run: the page is rewritten while it trains, and once at its end."""

from __future__ import annotations

import json
import signal
from threading import Thread

import pytest

from enface_tools.report import watch as watch_module
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
