"""Fixtures: a separate cache, toy recipes, and the command line called in this process."""

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
    """Use a temporary cache, so that packs of tests stay out of the user's cache; pretrained weights are linked.

    Nothing is downloaded; a test that downloads deletes ``ENFACE_OFFLINE``.
    """
    from enface.system.cache import cache_folder

    users = cache_folder()
    folder = tmp_path_factory.mktemp("cache")
    if (users / "weights").is_dir():
        (folder / "weights").symlink_to(users / "weights")
    os.environ["ENFACE_CACHE"] = str(folder)
    os.environ["ENFACE_OFFLINE"] = "1"
    return folder


@pytest.fixture(scope="session")
def evaluations() -> ModuleType:
    """The module ``support/evaluations.py``, which writes runs and evaluations without training."""
    spec = importlib.util.spec_from_file_location("evaluations", SUPPORT / "evaluations.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Use one thread: small images gain nothing from a second one, and wait long for it on a busy machine."""
    import torch

    torch.set_num_threads(1)


@dataclass
class Outcome:
    """Exit code, standard output and standard error of a command."""

    code: int
    out: str
    err: str


@pytest.fixture
def enface(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """Call the command line as a user would; an unexpected exception fails the test."""

    def call(*arguments: object) -> Outcome:
        from enface.cli import main

        monkeypatch.setattr("sys.argv", ["enface", *map(str, arguments)])
        capsys.readouterr()
        try:
            main()
            code = 0
        except SystemExit as error:
            code = int(error.code or 0)
        captured = capsys.readouterr()
        return Outcome(code, captured.out, captured.err)

    return call


@pytest.fixture
def recipe(tmp_path: Path) -> Callable[..., Path]:
    """Write a recipe that extends the toy recipe, ``recipe({"stages": ...})``, or raw text; return its path."""

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
    """Write a plugin file that imports the names plugins use; return its path."""

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
    """Write the files of an evaluated run: ``evaluated("a/1", {"key": [...], "lpips": [...]}, seed=1)``.

    Columns named in ``directions`` (name -> its keys in the summary) are metrics. If ``name`` is None, write the
    evaluation of pairs of images instead. The split is the one that runs are compared on.
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
        split: str = "val",
    ) -> Path:
        import pandas as pd

        folder = tmp_path / place
        parts = [] if name is None else ["evaluation", "val"] if split == "val" else ["evaluation"]
        results = folder.joinpath(*parts)
        results.mkdir(parents=True)
        if name is not None:
            keys = {
                "data": {"use": "toy_faces"},
                "generator": {"use": "unet"},
                "stages": {"main": {"steps": 1, "terms": {"l1": {}}}},
            }
            keys["stages"]["main"] |= stage or {}
            keys |= {"evaluation": {"regions": regions or {}}}
            (folder / "recipe.yaml").write_text(yaml.safe_dump({"name": name, "seed": seed, **keys}))
        frame = pd.DataFrame(dict(columns))
        frame.to_csv(results / "images.csv", index=False)
        entry = {"higher_is_better": False, "ideal": None, "card": {"implementation": "toy", "version": "1"}}
        entry |= {"mean": 0.0, "low": 0.0, "high": 0.0}
        metrics = {key: {**entry, **more} for key, more in (directions or {"lpips": {}}).items() if key in frame}
        content = {
            **{"format": 3, "kind": "pairs" if name is None else "run", "name": name or folder.name},
            **{"step": 10, "checkpoint": None, "images": len(frame), "metrics": metrics, "sets": {}, "caveats": []},
            **{"split": None if name is None else split, "identities": 3, "interval": "95% over identities"},
            **(summary or {}),
        }
        (results / "summary.json").write_text(json.dumps(content), encoding="utf-8")
        return folder

    return write
