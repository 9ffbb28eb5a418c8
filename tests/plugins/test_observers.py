"""Observers: what they write beside the training is there when a checkpoint is."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import pytest
import torch
from PIL import Image

from enface_plugins.observers import sample_grids

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


def test_a_full_disk_ends_a_run_with_a_message(recipe, enface, monkeypatch, tmp_path):
    def full(*_):
        raise OSError(28, "No space left on device", "samples/x.png")

    monkeypatch.setattr(sample_grids, "_write", full)
    # No other observer, for one that is not told of the end keeps its bar for the next run of this process.
    log = {"samples": 2, "observers": ["sample_grids"]}
    done = enface("run", recipe({"log": log}), "--runs", tmp_path / "runs")
    assert done.code == 2
    assert "error: the disk is full (samples/x.png): No space left on device. Make room" in done.err
