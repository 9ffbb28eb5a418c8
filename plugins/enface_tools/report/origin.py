"""Writes the origin of a run: its environment and its recipe's lineage."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from typing import Any

import torch
from omegaconf import Container, OmegaConf

import enface
from enface.recipe.diff import differences
from enface.recipe.files import RecipeSource
from enface.training.run import Run

PACKAGES = ("torch", "torchvision", "accelerate", "kornia", "lpips", "numpy", "pluggy")


def write_origin(run: Run) -> None:
    """Write ``environment.json`` and ``lineage.json``."""
    text = json.dumps(lineage(run.loaded.source), indent=1, default=str)
    (run.directory / "lineage.json").write_text(text, encoding="utf-8")
    (run.directory / "environment.json").write_text(json.dumps(environment(run), indent=1), encoding="utf-8")


def lineage(source: RecipeSource) -> dict[str, Any]:
    """Return a recipe's file, its parent, the changes to it, and the values of ``--set``.

    A change has the dotted key, the parent's value (``from``) and the recipe's own (``to``), None if one lacks the key.
    Without a parent, the changes are those by overrides.
    """
    files = [str(path) for path, _ in source.files]
    # The recipe first, so that changes are in the order of its keys.
    pairs = differences(dict(_leaves(source.merged)), dict(_leaves(source.parent)))
    return {
        "recipe": files[0] if files else "",
        "parent": files[1] if len(files) > 1 else None,
        "changes": [{"key": key, "from": old, "to": new} for key, new, old in pairs if key != "name"],
        "overrides": [item for _, item in source.overrides],
    }


def _leaves(config: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield dotted key and value of everything in a recipe that is not a map, or an empty one."""
    plain = OmegaConf.to_container(config, resolve=False) if isinstance(config, Container) else config
    if isinstance(plain, dict) and plain:
        for key, value in plain.items():
            yield from _leaves(value, f"{path}.{key!s}" if path else str(key))
    elif path:
        yield path, plain


def environment(run: Run) -> dict[str, Any]:
    """Return versions, device, data, seed and the git commit of the working directory."""
    engine, device = run.engine, run.engine.device
    return {
        "enface": enface.__version__,
        "python": sys.version.split()[0],
        "platform": platform.platform(),
        "packages": {name: _version(name) for name in PACKAGES},
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or "cpu",
        "precision": engine.precision,
        "processes": engine.processes,
        "threads": torch.get_num_threads(),
        "cpus": os.cpu_count(),
        "seed": run.recipe.seed,
        "pack": {
            **run.pack.info.model_dump(include={"dataset", "size", "digest", "images", "skipped"}),
            **({"address": run.pack.address} if run.pack.address is not None else {}),
        },
        "git": _git_commit(),
        "command": sys.argv,
    }


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _git_commit() -> dict[str, Any] | None:
    def git(*arguments: str) -> str:
        answer = subprocess.run(["git", *arguments], capture_output=True, text=True, check=True, timeout=10)
        return answer.stdout.strip()

    try:
        return {"commit": git("rev-parse", "HEAD"), "changed": bool(git("status", "--porcelain"))}
    except (OSError, subprocess.SubprocessError):
        return None
