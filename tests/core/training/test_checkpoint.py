"""Checkpoints: written atomically, rejected if damaged or of another kind, and unable to run code."""

from __future__ import annotations

import json
import pickle

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from enface.errors import CheckpointError
from enface.system import atomic
from enface.training import checkpoint

TENSORS = {"generator/a": torch.arange(6.0).reshape(2, 3), "ema/n": torch.tensor(3)}


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "deep" / "step.safetensors"
    checkpoint.save(path, TENSORS, {"step": 7, "stage": "main"})
    return path


def test_a_saved_checkpoint_is_read_back(saved):
    loaded = checkpoint.load(saved)
    assert loaded.state == {"format": checkpoint.FORMAT, "step": 7, "stage": "main"}
    assert checkpoint.read_state(saved) == loaded.state
    assert torch.equal(loaded.part("generator")["a"], TENSORS["generator/a"])
    assert loaded.part("ema")["n"] == 3
    assert loaded.part("gen") == {}


def test_views_shared_tensors_and_half_precision_keep_their_values(tmp_path):
    value = torch.randn(2, 3, 4, 4).to(memory_format=torch.channels_last)
    tensors = {"a": value, "b": value, "c": value[:, 1], "d": value.bfloat16()}
    checkpoint.save(tmp_path / "x", tensors, {})
    loaded = checkpoint.load(tmp_path / "x").tensors
    assert all(torch.equal(loaded[name], tensors[name]) for name in tensors)


def test_a_failed_write_leaves_the_old_file_and_nothing_else(saved, monkeypatch):
    before = saved.read_bytes()

    def torn(tensors, name, metadata):
        with open(name, "wb") as file:
            file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "save_file", torn)
    with pytest.raises(OSError, match="No space"):
        checkpoint.save(saved, TENSORS, {})
    assert saved.read_bytes() == before
    assert list(saved.parent.iterdir()) == [saved]


def test_a_file_takes_its_name_once_it_is_complete(saved, monkeypatch):
    seen = []
    replace = atomic.os.replace

    def spy(source, target):
        seen.append(checkpoint.safe_open(source, framework="pt").metadata() is not None)
        replace(source, target)

    monkeypatch.setattr(atomic.os, "replace", spy)
    checkpoint.save(saved, TENSORS, {"step": 8})
    assert seen == [True]
    assert checkpoint.read_state(saved)["step"] == 8


@pytest.mark.parametrize("length", [0, 4, 50, -1])
def test_a_truncated_file_is_named(saved, length):
    saved.write_bytes(saved.read_bytes()[:length])
    with pytest.raises(CheckpointError) as caught:
        checkpoint.load(saved)
    assert str(saved) in str(caught.value)
    assert "truncated or damaged" in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(CheckpointError, match=r"gone.*does not exist"):
        checkpoint.load(tmp_path / "gone")


def test_a_newer_format_requires_an_upgrade(tmp_path):
    save_file(TENSORS, tmp_path / "x", {"enface": json.dumps({"format": checkpoint.FORMAT + 1})})
    with pytest.raises(CheckpointError, match=r"newer than this enface reads.*upgrade"):
        checkpoint.load(tmp_path / "x")


@pytest.mark.parametrize("metadata", [None, {"other": "1"}, {"enface": "{"}, {"enface": "[]"}, {"enface": "{}"}])
def test_safetensors_of_other_programs_are_rejected(tmp_path, metadata):
    save_file(TENSORS, tmp_path / "x", metadata)
    with pytest.raises(CheckpointError, match=r"x is not a checkpoint of enface"):
        checkpoint.load(tmp_path / "x")


class Trap:
    """Creates a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def test_loading_runs_no_code(tmp_path):
    from enface.data.pack import read_pack

    ran = tmp_path / "ran"
    payload = pickle.dumps(Trap(ran))
    pickle.loads(payload)
    assert ran.exists(), "the trap works"
    ran.unlink()
    (tmp_path / "pickle").write_bytes(payload)
    torch.save({"a": Trap(ran)}, tmp_path / "torch")
    for name in ("pickle", "torch"):
        with pytest.raises(CheckpointError):
            checkpoint.load(tmp_path / name)
    from enface.errors import DataError

    (tmp_path / "pack.json").write_text('{"columns": {}}')
    (tmp_path / "table.csv").write_text("key,identity\na,b\n")
    (tmp_path / "images.npy").write_bytes(payload)
    with pytest.raises(DataError):
        read_pack(tmp_path)
    assert not ran.exists()


def test_no_module_loads_pickles():
    import ast
    from pathlib import Path

    import enface

    for path in Path(enface.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            called = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
            assert called not in {"pickle.load", "pickle.loads", "eval", "exec", "yaml.load", "joblib.load"}, path
            if called == "torch.load":
                assert any(
                    item.arg == "weights_only" and ast.unparse(item.value) == "True" for item in node.keywords
                ), path
            if called == "np.load":
                assert any(
                    item.arg == "allow_pickle" and ast.unparse(item.value) == "False" for item in node.keywords
                ), path


# ------------------------------------------------------------------ modules and optimizers


def test_a_network_of_another_shape_is_rejected_by_tensor_names(tmp_path):
    module = nn.Sequential(nn.Linear(2, 3))
    checkpoint.save(tmp_path / "x", {f"generator/{k}": v for k, v in module.state_dict().items()}, {})
    loaded = checkpoint.load(tmp_path / "x")
    other = nn.Sequential(nn.Linear(2, 4), nn.Linear(4, 1))
    before = checkpoint.digest(other)
    with pytest.raises(CheckpointError, match=r"generator does not fit.*4 tensors differ: 0\.bias, 0\.weight, 1\.bias"):
        loaded.load("generator", other)
    assert checkpoint.digest(other) == before
    loaded.load("generator", module)


@pytest.mark.parametrize("name", ["Adam", "AdamW", "SGD", "RMSprop", "Adagrad", "NAdam", "Adafactor"])
def test_a_loaded_optimizer_continues_with_the_same_bits(tmp_path, name):
    def build():
        torch.manual_seed(0)
        module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).to(memory_format=torch.channels_last)
        options = {"momentum": 0.9} if name in ("SGD", "RMSprop") else {}
        return module, getattr(torch.optim, name)(module.parameters(), lr=0.01, **options)

    def train(module, optimizer, steps):
        for step in steps:
            torch.manual_seed(step)
            optimizer.zero_grad()
            module(torch.randn(2, 3, 8, 8)).square().mean().backward()
            optimizer.step()

    module, optimizer = build()
    train(module, optimizer, range(3))
    tensors, plain = checkpoint.optimizer_tensors(optimizer)
    checkpoint.save(
        tmp_path / "x",
        {**{f"o/{k}": v for k, v in tensors.items()}, **{f"m/{k}": v for k, v in module.state_dict().items()}},
        {"plain": plain},
    )
    train(module, optimizer, range(3, 6))
    resumed, second = build()
    loaded = checkpoint.load(tmp_path / "x")
    loaded.load("m", resumed)
    checkpoint.load_optimizer(second, loaded.part("o"), loaded.state["plain"])
    train(resumed, second, range(3, 6))
    assert checkpoint.digest(resumed) == checkpoint.digest(module)


def test_a_digest_covers_names_shapes_and_bits():
    module = nn.Linear(2, 3)
    same = nn.Linear(2, 3)
    same.load_state_dict(module.state_dict())
    assert checkpoint.digest(same) == checkpoint.digest(module)
    with torch.no_grad():
        same.bias[0] = torch.nextafter(same.bias[0], torch.tensor(9.0))
    assert checkpoint.digest(same) != checkpoint.digest(module)
    conv = nn.Conv2d(3, 4, 3)
    before = checkpoint.digest(conv)
    assert checkpoint.digest(conv.to(memory_format=torch.channels_last)) == before
