"""Runs written by hand."""

from __future__ import annotations

import json

import pytest
import yaml

START = 1_700_000_000.0


@pytest.fixture
def runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path / "runs"


@pytest.fixture
def write(runs):
    """Write a run of two stages of 30 and 20 steps; events are names or (name, step, more keys), 10 s apart."""

    def write_(place, events=(), metrics=None, *, split="val", best=None, asked="test", **keys):
        folder = runs / place
        folder.mkdir(parents=True)
        recipe = {
            "name": folder.parent.name,
            "stages": {"warm": {"steps": 30}, "main": {"steps": 20}},
            "evaluation": {"split": asked},
            "log": {"best": best},
        }
        (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe))
        lines = []
        for number, item in enumerate(events):
            event, step, more = item if isinstance(item, tuple) else (item, 50, {})
            lines.append(json.dumps({"event": event, "time": START + 10 * number, "step": step, **more}) + "\n")
        (folder / "log.jsonl").write_text("".join(lines))
        if metrics is not None:
            write_summary(folder, metrics, split, **keys)
        return folder

    return write_


def write_summary(folder, metrics, split="val", *, directions=None, card=None, images=9):
    entries = {}
    for name, value in metrics.items():
        direction = (directions or {}).get(name, {"higher_is_better": name != "lpips"})
        entries[name] = {"mean": value, "low": None, "high": None, "card": card or {"version": "1"}, **direction}
    place = folder / "evaluation" if split == "test" else folder / "evaluation" / "val"
    place.mkdir(parents=True, exist_ok=True)
    content = {"kind": "run", "name": "x", "format": 3, "metrics": entries, "interval": "", "caveats": []}
    (place / "summary.json").write_text(json.dumps({**content, "images": images, "identities": images}))
