"""Observers: what they write beside the training is there when a checkpoint is."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import pytest
import torch
from PIL import Image

from enface.cli.options import load
from enface.plugin.hooks import hookimpl
from enface_plugins.observers import sample_grids
from enface_plugins.observers.background import BackgroundWriter
from enface_plugins.observers.tensorboard import TensorBoard

IMAGES = {name: torch.linspace(-1, 1, 9 * 3 * 8 * 8).reshape(9, 3, 8, 8) for name in ("source", "output", "target")}


@pytest.fixture
def run(tmp_path):
    (tmp_path / "samples").mkdir()
    return SimpleNamespace(directory=tmp_path)


@pytest.mark.parametrize("end", ["checkpoint_saved", "run_ended"])
def test_grids_are_written_beside_the_training_and_waited_for(run, monkeypatch, end):
    grids, may_write = sample_grids.SampleGrids(), threading.Event()
    write = sample_grids._write
    monkeypatch.setattr(sample_grids, "_write", lambda *words: (may_write.wait(), write(*words)))
    grids.samples_ready(run, 20, IMAGES)
    grids.samples_ready(run, 40, IMAGES)
    assert not list((run.directory / "samples").iterdir()), "training went on"
    may_write.set()
    words = {"checkpoint_saved": {"step": 40, "path": run.directory}, "run_ended": {"completed": False}}[end]
    getattr(grids, end)(run, **words)
    names = [f"{step:08d}-{name}.png" for step in (20, 40) for name in ("inputs", "outputs", "targets")]
    assert sorted(path.name for path in (run.directory / "samples").iterdir()) == sorted(names)
    assert Image.open(run.directory / "samples" / names[0]).size == (8 * 10 + 2, 2 * 10 + 2)


def test_what_could_not_be_written_is_not_passed_over(run, enface, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device", "samples/x.png")

    monkeypatch.setattr(sample_grids, "_write", full)
    grids = sample_grids.SampleGrids()
    grids.samples_ready(run, 20, IMAGES)
    with pytest.raises(OSError, match="No space"):
        grids.checkpoint_saved(run, 20, run.directory)
    grids.run_ended(run, completed=False)


def test_tensorboard_has_the_grids_made_beside_the_training(tmp_path, monkeypatch):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run, board = SimpleNamespace(directory=tmp_path, step=0), TensorBoard()
    may_write, add = threading.Event(), board._add
    # Were they made before training goes on, this would wait in vain.
    monkeypatch.setattr(board, "_add", lambda *words: add(*words) if may_write.wait(60) else None)
    board.run_started(run)
    board.samples_ready(run, 20, IMAGES)
    may_write.set()
    board.run_ended(run, completed=True)
    found = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert sorted(found.Tags()["images"]) == sorted(IMAGES)
    (grid,) = found.Images("output")
    assert (grid.step, grid.width, grid.height) == (20, 8 * 10 + 2, 2 * 10 + 2)


def test_a_grid_that_tensorboard_cannot_have_is_told_and_costs_no_other(tmp_path, monkeypatch):
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
    # It was closed all the same.
    (grid,) = EventAccumulator(str(tmp_path / "tensorboard")).Reload().Images("output")
    assert grid.step == 40
    assert board._writer is None


def test_of_several_errors_beside_the_training_none_is_lost():
    aside = BackgroundWriter("test")
    for text in ("first", "second"):
        aside.call(lambda text=text: int(text))
    with pytest.raises(ValueError, match="first") as found:
        aside.wait()
    assert "second" in found.value.__notes__[0]
    aside.wait()


def test_a_full_disk_ends_a_run_with_a_message(recipe, enface, monkeypatch, tmp_path):
    def full(*_):
        raise OSError(28, "No space left on device", "samples/x.png")

    monkeypatch.setattr(sample_grids, "_write", full)
    done = enface("run", recipe({"log": {"samples": 2}}), "--runs", tmp_path / "runs")
    assert done.code == 2
    assert "error: the disk is full (samples/x.png): No space left on device. Make room" in done.err


class Ends:
    """Remembers how runs ended."""

    def __init__(self):
        self.seen = []

    @hookimpl
    def run_ended(self, run, completed):
        """Remember it."""
        self.seen.append(completed)


@pytest.mark.parametrize("where", ["enface.train.trainer.Trainer._one_step", "enface.cli.run.measure_and_report"])
def test_an_error_that_nobody_foresaw_is_told_to_observers(recipe, enface, monkeypatch, tmp_path, where):
    ends = Ends()
    monkeypatch.setattr("enface.cli.run.load", lambda *words: watched(load(*words), ends))

    def broken(*_, **__):
        raise ZeroDivisionError("of our own making")

    monkeypatch.setattr(where, broken)
    with pytest.raises(ZeroDivisionError):
        enface("run", recipe({}), "--runs", tmp_path / "runs")
    assert ends.seen == [False]


def test_the_end_is_told_once(recipe, enface, monkeypatch, tmp_path):
    ends = Ends()
    monkeypatch.setattr("enface.cli.run.load", lambda *words: watched(load(*words), ends))
    assert enface("run", recipe({}), "--runs", tmp_path / "runs").code == 0
    assert ends.seen == [True]


def watched(loaded, observer):
    loaded.plugins.register(observer, name="ends")
    return loaded


def test_off_a_terminal_the_bar_prints_no_empty_line(recipe, enface, tmp_path):
    found = enface("run", recipe({}), "--runs", tmp_path / "runs")
    assert "images/s" in found.out
    assert "\n\n" not in found.out
