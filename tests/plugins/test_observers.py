"""Observers: files written in the background are complete once a checkpoint is saved."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from PIL import Image

from enface.plugin.hooks import hookimpl
from enface.recipe.load import load_recipe
from enface.system.messages import Silent
from enface_plugins.observers import sample_grids
from enface_plugins.observers.background import BackgroundWriter
from enface_plugins.observers.progress import ProgressBar
from enface_plugins.observers.tensorboard import TensorBoard

IMAGES = {name: torch.linspace(-1, 1, 9 * 3 * 8 * 8).reshape(9, 3, 8, 8) for name in ("source", "output", "target")}


@pytest.fixture
def run(tmp_path):
    (tmp_path / "samples").mkdir()
    return SimpleNamespace(directory=tmp_path)


@pytest.mark.parametrize("end", ["checkpoint_saved", "run_ended"])
def test_grids_are_written_in_the_background_until_a_checkpoint_or_the_end(run, monkeypatch, end):
    grids, may_write = sample_grids.SampleGrids(), threading.Event()
    write = sample_grids._write
    monkeypatch.setattr(sample_grids, "_write", lambda *given: (may_write.wait(), write(*given)))
    grids.samples_ready(run, 20, IMAGES)
    grids.samples_ready(run, 40, IMAGES)
    assert not list((run.directory / "samples").iterdir()), "training did not wait"
    may_write.set()
    arguments = {"checkpoint_saved": {"step": 40, "path": run.directory}, "run_ended": {"completed": False}}[end]
    getattr(grids, end)(run, **arguments)
    names = [f"{step:08d}-{name}.png" for step in (20, 40) for name in ("inputs", "outputs", "targets")]
    assert sorted(path.name for path in (run.directory / "samples").iterdir()) == sorted(names)
    assert Image.open(run.directory / "samples" / names[0]).size == (8 * 10 + 2, 2 * 10 + 2)


def test_an_error_while_writing_is_raised(run, enface, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device", "samples/x.png")

    monkeypatch.setattr(sample_grids, "_write", full)
    grids = sample_grids.SampleGrids()
    grids.samples_ready(run, 20, IMAGES)
    with pytest.raises(OSError, match="No space"):
        grids.checkpoint_saved(run, 20, run.directory)
    grids.run_ended(run, completed=False)


def test_tensorboard_contains_the_grids_made_in_the_background(tmp_path, monkeypatch):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run, board = SimpleNamespace(directory=tmp_path, step=0), TensorBoard()
    may_write, add = threading.Event(), board._add
    # Times out if the grids are made in the training's thread.
    monkeypatch.setattr(board, "_add", lambda *given: add(*given) if may_write.wait(60) else None)
    board.run_started(run)
    board.samples_ready(run, 20, IMAGES)
    may_write.set()
    board.run_ended(run, completed=True)
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert sorted(events.Tags()["images"]) == sorted(IMAGES)
    (grid,) = events.Images("output")
    assert (grid.step, grid.width, grid.height) == (20, 8 * 10 + 2, 2 * 10 + 2)


def test_a_grid_that_tensorboard_cannot_write_is_reported_and_others_are_written(tmp_path, monkeypatch):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run, board = SimpleNamespace(directory=tmp_path, step=0), TensorBoard()
    add, full = board._add, OSError(28, "No space left on device")

    def failing(images, step):
        if step == 20:
            raise full
        add(images, step)

    monkeypatch.setattr(board, "_add", failing)
    board.run_started(run)
    for step in (20, 40):
        board.samples_ready(run, step, IMAGES)
    with pytest.raises(OSError, match="No space"):
        board.checkpoint_saved(run, 40, tmp_path)
    board.samples_ready(run, 20, IMAGES)
    with pytest.raises(OSError, match="No space"):
        board.run_ended(run, completed=False)
    # The file was closed despite the error.
    (grid,) = EventAccumulator(str(tmp_path / "tensorboard")).Reload().Images("output")
    assert grid.step == 40
    assert board._writer is None


def curves(directory):
    """TensorBoard's curves of a run: name -> points (step, value)."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(directory / "tensorboard")).Reload()
    return {name: [(item.step, item.value) for item in events.Scalars(name)] for name in events.Tags()["scalars"]}


def log(directory, event):
    lines = [json.loads(line) for line in (directory / "log.jsonl").read_text().splitlines()]
    return [line for line in lines if line["event"] == event]


def test_evaluating_a_run_later_leaves_its_curves_as_they_were(recipe, enface, tmp_path):
    content = {
        "stages": {"main": {"steps": 4, "batch": 2, "ema": 0.5, "terms": {"l1": {}}}},
        "data": {"split": {"train": 4, "val": 1, "test": 1}},
        "metrics": {"mae": {}},
        "log": {"every": 1, "checkpoint": 1, "validate": 2, "keep": 5},
    }
    assert enface("run", recipe(content), "--runs", tmp_path / "runs").code == 0
    (directory,) = (tmp_path / "runs").glob("*/*")
    before = curves(directory)
    trained = [(line["step"], pytest.approx(line["values"]["term/l1"])) for line in log(directory, "step")]
    validated = [(line["step"], pytest.approx(line["values"]["mae"])) for line in log(directory, "validated")]
    assert [step for step, _ in trained] == [1, 2, 3, 4]
    assert before["loss/l1"] == trained
    # The evaluation at the end measures the last network once more.
    assert before["metric/mae"] == [*validated, validated[-1]]
    assert [step for step, _ in before["test/mae"]] == [4]
    for words in ([], ["--checkpoint", "all"], ["--checkpoint", "1", "--raw"], ["--split", "test"]):
        outcome = enface("evaluate", directory, *words)
        assert outcome.code == 0, outcome.err
    assert curves(directory) == before
    assert [
        (line["split"], line["checkpoint"], line["weights"], line["step"]) for line in log(directory, "evaluated")
    ] == [
        ("val", "step-00000004", "average", 4),
        ("test", "step-00000004", "average", 4),
        ("val", "step-00000004", "average", 4),
        *(("val", f"step-0000000{step}", "average", step) for step in (1, 2, 3, 4)),
        ("val", "step-00000001", "plain", 1),
        ("test", "step-00000004", "average", 4),
    ]


def test_losses_are_shown_by_their_labels_and_as_losses(recipe, enface, tmp_path):
    terms = {"l1": {"use": "charbonnier"}, "ssim": {}}
    file = recipe({"stages": {"main": {"steps": 2, "batch": 2, "terms": terms}}, "metrics": {"ssim": {}}})
    outcome = enface("run", file, "--runs", tmp_path / "runs")
    assert "images/s  losses: l1 (charbonnier) 0." in outcome.out
    (directory,) = (tmp_path / "runs").glob("*/*")
    tags = {name for name in curves(directory) if "l1" in name or "ssim" in name}
    losses = {"loss/l1/charbonnier", "loss/ssim", "weighted_loss/l1/charbonnier", "weighted_loss/ssim"}
    assert tags == losses | {"metric/ssim", "test/ssim"}
    (started,) = log(directory, "stage_started")
    assert started["losses"] == {"l1": "l1 (charbonnier)", "ssim": "ssim"}


def test_resuming_replaces_the_points_after_the_checkpoint(recipe, enface, tmp_path):
    content = {"stages": {"main": {"steps": 4, "batch": 2, "terms": {"l1": {}}}}, "log": {"every": 1, "checkpoint": 2}}
    file = recipe(content)
    assert enface("run", file, "--runs", tmp_path / "runs").code == 0
    (directory,) = (tmp_path / "runs").glob("*/*")
    whole = curves(directory)["loss/l1"]
    (directory / "checkpoints" / "step-00000004.safetensors").unlink()
    outcome = enface("run", file, "--runs", tmp_path / "runs", "--resume")
    assert outcome.code == 0, outcome.err
    assert curves(directory)["loss/l1"] == whole


def test_several_errors_in_the_background_are_all_reported():
    background = BackgroundWriter("test")
    for text in ("first", "second"):
        background.call(lambda text=text: int(text))
    with pytest.raises(ValueError, match="first") as error:
        background.wait()
    assert "second" in error.value.__notes__[0]
    background.wait()


def test_a_full_disk_ends_a_run_with_a_message(recipe, enface, monkeypatch, tmp_path):
    def full(*_):
        raise OSError(28, "No space left on device", "samples/x.png")

    monkeypatch.setattr(sample_grids, "_write", full)
    outcome = enface("run", recipe({"log": {"samples": 2}}), "--runs", tmp_path / "runs")
    assert outcome.code == 2
    assert "error: the disk is full (samples/x.png): No space left on device. Free some space" in outcome.err


class Ends:
    """An observer that records how runs ended."""

    def __init__(self):
        self.seen = []

    @hookimpl
    def run_ended(self, run, completed):
        """Record whether the run completed."""
        self.seen.append(completed)


@pytest.mark.parametrize(
    "function", ["enface.training.trainer.Trainer._one_step", "enface_tools.evaluate.run.evaluate_run"]
)
def test_an_unexpected_error_is_reported_to_observers(recipe, enface, monkeypatch, tmp_path, function):
    ends = Ends()
    monkeypatch.setattr("enface.recipe.load.load_recipe", lambda *given: watched(load_recipe(*given), ends))

    def broken(*_, **__):
        raise ZeroDivisionError("raised by the test")

    monkeypatch.setattr(function, broken)
    with pytest.raises(ZeroDivisionError):
        enface("run", recipe({}), "--runs", tmp_path / "runs")
    assert ends.seen == [False]


def test_the_end_is_reported_once(recipe, enface, monkeypatch, tmp_path):
    ends = Ends()
    monkeypatch.setattr("enface.recipe.load.load_recipe", lambda *given: watched(load_recipe(*given), ends))
    assert enface("run", recipe({}), "--runs", tmp_path / "runs").code == 0
    assert ends.seen == [True]


def watched(loaded, observer):
    """Register an observer among the plugins of a loaded recipe."""
    loaded.plugins.register(observer, name="ends")
    return loaded


def test_a_silent_run_shows_nothing(capsys, tmp_path):
    run, bar = SimpleNamespace(reporter=Silent(), step=1), ProgressBar()
    bar.run_started(run)
    bar.stage_started(run, "main", 0)
    bar.weights_loaded(run, "main", tmp_path, ["a"], ["b"], ["c"])
    bar.step_ended(run, "main", 1, {"images_per_second": 1.0})
    bar.run_ended(run, completed=True)
    assert capsys.readouterr().out == ""


def test_importing_observers_imports_no_slow_package():
    code = (
        "import sys, enface_plugins.observers.progress, enface_plugins.observers.sample_grids,"
        " enface_plugins.observers.tensorboard\n"
        "print(*{'rich', 'torch', 'pandas', 'PIL', 'numpy', 'tensorboard'} & set(sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "\n"


def test_without_a_terminal_the_bar_prints_no_empty_line(recipe, enface, tmp_path):
    outcome = enface("run", recipe({}), "--runs", tmp_path / "runs")
    assert "images/s" in outcome.out
    assert "\n\n" not in outcome.out


def test_the_observer_of_the_docs_has_ten_lines_and_writes_its_table(recipe, enface, tmp_path):
    observer = Path(__file__).parents[1] / "support" / "metrics_csv.py"
    assert len(observer.read_text().splitlines()) == 10
    toy = observer.with_name("toy_faces.py")
    keys = {"plugins": [str(observer), str(toy)], "metrics": {"mae": {}}, "log": {"validate": 3}}
    outcome = enface("run", recipe(keys), "--runs", tmp_path / "runs")
    assert outcome.code == 0, outcome.err
    (directory,) = (tmp_path / "runs").glob("*/*")
    validated = [[str(line["step"]), "val", "mae", str(line["values"]["mae"])] for line in log(directory, "validated")]
    rows = [line.split(",") for line in (directory / "metrics.csv").read_text().splitlines()]
    assert rows[:2] == validated
    # The evaluation at the end: validation people, then test people.
    assert [row[:3] for row in rows[2:]] == [["6", "val", "mae"], ["6", "test", "mae"]]
