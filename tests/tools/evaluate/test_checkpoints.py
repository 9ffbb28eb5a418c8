"""Selecting checkpoints of a run."""

from __future__ import annotations

import pytest
import torch

from enface.errors import CheckpointError
from enface.training.checkpoint import save
from enface_tools.evaluate.checkpoints import averaged, find_checkpoints


@pytest.fixture
def directory(tmp_path):
    for name, places in (("step-00000100", ("generator",)), ("step-00000300", ("generator", "ema"))):
        tensors = {f"{place}/weight": torch.zeros(1) for place in places}
        state = {"step": 0, "stage": "first", "stage_ended": name.endswith("300")}
        save(tmp_path / "checkpoints" / f"{name}.safetensors", tensors, state)
    return tmp_path


def names(paths):
    return list(paths)


def test_checkpoints_by_word_and_by_step(directory):
    assert names(find_checkpoints(directory, "last")) == ["step-00000300"]
    assert names(find_checkpoints(directory, "100")) == ["step-00000100"]
    assert names(find_checkpoints(directory, "all")) == ["step-00000100", "step-00000300"]
    save(directory / "checkpoints" / "best.safetensors", {"generator/weight": torch.zeros(1)}, {"step": 0})
    assert names(find_checkpoints(directory, "best")) == ["best"]
    assert names(find_checkpoints(directory, "all")) == ["step-00000100", "step-00000300"]
    assert {name: path.stem for name, path in find_checkpoints(directory, "first").items()} == {
        "first": "step-00000300"
    }


@pytest.mark.parametrize("which", ["200", "-100", "newest", ""])
def test_a_checkpoint_that_is_not_there(directory, which):
    with pytest.raises(CheckpointError, match=r"steps \(100, 300\), stages \(first\)"):
        find_checkpoints(directory, which)


def test_no_best_one_was_kept(directory):
    with pytest.raises(CheckpointError, match=r"no best checkpoint; set log\.best"):
        find_checkpoints(directory, "best")


@pytest.mark.parametrize("which", ["last", "best", "all", "100"])
def test_no_checkpoint_yet(tmp_path, which):
    with pytest.raises(CheckpointError, match="no checkpoint yet"):
        find_checkpoints(tmp_path, which)


def test_a_running_average_is_detected(directory):
    assert [averaged(path) for path in find_checkpoints(directory, "all").values()] == [False, True]
