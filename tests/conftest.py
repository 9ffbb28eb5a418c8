"""Fixtures: a cache of the tests' own, toy recipes, and the command line called in this process."""

from __future__ import annotations

import importlib.util
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
SUPPORT = Path(__file__).parent / "support"

pytest_plugins = ["processes", "training"]


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Packs made by tests stay out of the user's cache; fetched weights are found where they are."""
    from enface.system.cache import cache_folder

    users = cache_folder()
    mine = tmp_path_factory.mktemp("cache")
    if (users / "weights").is_dir():
        (mine / "weights").symlink_to(users / "weights")
    os.environ["ENFACE_CACHE"] = str(mine)
    return mine


@pytest.fixture(scope="session")
def evaluations() -> ModuleType:
    """``support/evaluations.py``: runs and evaluations written by hand."""
    spec = importlib.util.spec_from_file_location("evaluations", SUPPORT / "evaluations.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Images this small gain nothing from a second thread, and wait for it long on a busy machine."""
    import torch

    torch.set_num_threads(1)


@dataclass
class Outcome:
    code: int
    out: str
    err: str


@pytest.fixture
def enface(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """Call the command line as a user would; a traceback would fail the test."""

    def call(*words: object) -> Outcome:
        from enface.cli import main

        monkeypatch.setattr("sys.argv", ["enface", *map(str, words)])
        capsys.readouterr()
        try:
            main()
            code = 0
        except SystemExit as stop:
            code = int(stop.code or 0)
        captured = capsys.readouterr()
        return Outcome(code, captured.out, captured.err)

    return call


@pytest.fixture
def recipe(tmp_path: Path) -> Callable[..., Path]:
    """Write a recipe that extends the toy one: ``recipe({"stages": ...})`` or raw text."""

    def write(content: dict[str, object] | str, name: str = "mine.yaml") -> Path:
        path = tmp_path / name
        if isinstance(content, str):
            path.write_text(content, encoding="utf-8")
        else:
            path.write_text(
                yaml.safe_dump({"extends": str(SUPPORT / "toy.yaml"), **content}, sort_keys=False), encoding="utf-8"
            )
        return path

    return write


@pytest.fixture
def plugin(tmp_path: Path) -> Callable[..., str]:
    """Write a plugin file that imports what plugins use; its path."""

    def write(body: str, name: str = "mine.py", brings: str = "") -> str:
        path = tmp_path / name
        head = """
import os, signal, torch
from typing import Annotated
from annotated_types import Ge, Gt
from enface import AdversarialLoss, DataError, DataInfo, Dataset, Discriminator, Generator
from enface import Loss, Mask, Metric, Schedulable, Schedule, as_schedule, hookimpl
"""
        tail = f"\n@hookimpl\ndef components():\n    return [{brings}]\n" if brings else ""
        path.write_text(head + body + tail, encoding="utf-8")
        return str(path)

    return write


@pytest.fixture
def evaluated(tmp_path: Path) -> Callable[..., Path]:
    """Write what a run's evaluation leaves, by hand: ``evaluated("a/1", {"key": [...], "lpips": [...]}, seed=1)``.

    Columns named in ``directions`` (name -> what its entry in the summary has) are metrics. Without a recipe's ``name``
    it is the evaluation of pairs of images.
    """

    def write(
        place: str,
        columns: Mapping[str, object],
        *,
        name: str | None = "toy",
        seed: int = 0,
        directions: Mapping[str, Mapping[str, object]] | None = None,
        stage: Mapping[str, object] | None = None,
        regions: Mapping[str, object] | None = None,
        summary: Mapping[str, object] | None = None,
    ) -> Path:
        import pandas as pd

        folder = tmp_path / place
        where = folder if name is None else folder / "evaluation"
        where.mkdir(parents=True)
        if name is not None:
            content = {
                "data": {"use": "toy_faces"},
                "generator": {"use": "unet"},
                "stages": {"main": {"steps": 1, "terms": {"l1": {}}}},
            }
            content["stages"]["main"] |= stage or {}
            content |= {"evaluation": {"regions": regions or {}}}
            (folder / "recipe.yaml").write_text(yaml.safe_dump({"name": name, "seed": seed, **content}))
        frame = pd.DataFrame(dict(columns))
        frame.to_csv(where / "images.csv", index=False)
        entry = {"higher_is_better": False, "ideal": None, "card": {"implementation": "toy", "version": "1"}}
        entry |= {"mean": 0.0, "low": 0.0, "high": 0.0}
        metrics = {key: {**entry, **keys} for key, keys in (directions or {"lpips": {}}).items() if key in frame}
        whole = {
            **{"format": 2, "kind": "pairs" if name is None else "run", "name": name or folder.name, "split": "test"},
            **{"step": 10, "checkpoint": None, "images": len(frame), "metrics": metrics, "sets": {}, "caveats": []},
            **{"identities": 3, "interval": "95% bootstrap over identities"},
            **(summary or {}),
        }
        (where / "summary.json").write_text(json.dumps(whole), encoding="utf-8")
        return folder

    return write
