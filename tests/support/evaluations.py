"""Runs and evaluations written by hand, for tests of pages: hostile names, few pixels, no training."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

HOSTILE = "<script>alert('x')</script>"
HOSTILE_IDENTITY = "<img src=x onerror=\"document.title='hacked'\">"
HOSTILE_KEY = "a\"b'c\u2028</script><script>document.title='hacked'</script>"
POSES = (-90, -15, 0, 15, 90)
TILES = ("source", "output", "target", "error")
COLOURS = ((200, 60, 60), (60, 200, 60), (60, 60, 200), (0, 0, 0))
ROWS = 64
METRICS = {"ssim": (True, None), "lpips": (False, None), "sharpness": (True, 1.0)}


def metric(
    mean: float, low: float, high: float, source: float, mean_target: float, *, higher: bool = True
) -> dict[str, Any]:
    """A metric of ``summary.json``; the interval of each gain is as wide as that of the mean."""
    baselines = {"source": source, "mean_target": mean_target}
    content = {
        "mean": mean,
        "low": low,
        "high": high,
        "baselines": baselines,
        "higher_is_better": higher,
        "ideal": None,
        "card": {"implementation": "made up", "weights": HOSTILE},
    }
    content["gains"] = {
        name: {"mean": mean - value, "low": low - value, "high": high - value} for name, value in baselines.items()
    }
    return content


def summary() -> dict[str, Any]:
    """A summary with one metric better than both baselines, one worse than one of them, and one neither."""
    metrics = {
        "ssim": metric(0.8123, 0.80, 0.83, 0.5, 0.7),
        "lpips": metric(0.31, 0.30, 0.32, 0.4, 0.28, higher=False),
        "psnr": metric(21.5, 21.0, 22.0, 12.0, 21.7),
    }
    numbers = {
        name: {"mean": 0.9, "low": 0.85, "high": 0.95, "images": 5, "identities": 5, "baselines": item["baselines"]}
        for name, item in metrics.items()
    }
    numbers["psnr"] |= {"low": None, "high": None, "identities": 4}
    by_pose = {pose: {"images": 5, "metrics": numbers} for pose in ("-15", "-90", "0", "90")}
    return {
        "format": 3,
        "kind": "run",
        "name": "tiny",
        "metrics": metrics,
        "sets": {"fid": {"value": 41.5, "baselines": {"source": 60.0}, "higher_is_better": False, "card": {}}},
        "regions": {
            name: {
                "images": 7,
                "metrics": {
                    "ssim": {
                        **{"mean": 0.4, "low": 0.3, "high": 0.5, "images": 7, "identities": 6},
                        "baselines": {"source": 0.1},
                    }
                },
            }
            for name in ("eyes", HOSTILE)
        },
        "unavailable": {"identity": f"weights are missing {HOSTILE}"},
        "caveats": [f"only few people {HOSTILE}"],
        "by": {"pose": by_pose, "glasses": {"no": by_pose["0"], HOSTILE: by_pose["90"]}},
        "by_two": {
            "pose x light": {
                "rows": ["-15", "-90"],
                "columns": ["0", "1"],
                "metrics": {"lpips": [[0.1, 0.2], [None, 0.4]]},
            }
        },
        "images": 20,
        "identities": 4,
        "interval": "95% over identities",
        "split": "test",
        "step": 12000,
        "checkpoint": {"file": "step-00012000", "weights": "average"},
    }


def log_lines() -> Iterator[dict[str, Any]]:
    """Two stages, one with a critic; the last value of a term is NaN."""
    yield {"event": "stage_started", "step": 0, "stage": f"warm {HOSTILE} $x^", "stage_step": 0}
    for step in range(1, 600):
        values = {"term/l1": 1 / step, "weighted/l1": 10 / step, "lr/generator": 1e-4, "images_per_second": 50.0}
        yield {"event": "step", "step": step, "stage": "warm", "values": values}
    yield {"event": "stage_started", "step": 300, "stage": "main", "stage_step": 0}
    values = {"term/l1": math.nan, "term/gan": -0.5, "term/patch.gan": 1.5}
    yield {"event": "step", "step": 600, "stage": "main", "values": values}
    yield {"event": "validated", "step": 600, "values": {"ssim": 0.7}}


def write_run(directory: Path, events: Iterator[dict[str, Any]] | list[dict[str, Any]] | None = None) -> Path:
    """Write a complete run whose log was cut off, evaluated on three images."""
    for name in ("samples", "evaluation"):
        (directory / name).mkdir(parents=True)
    (directory / "recipe.yaml").write_text(f"name: tiny\nnote: {json.dumps(HOSTILE)}\nurl: https://example.org\n")
    about = {"device": HOSTILE, "packages": {"torch": "2", "kornia": None}, "pack": {"skipped": ["a"]}}
    (directory / "environment.json").write_text(json.dumps({**about, "git": {"commit": "abc123", "changed": False}}))
    changes = [{"key": "stages.main.steps", "from": None, "to": {"x": HOSTILE}}]
    lineage = {"recipe": "tiny.yaml", "parent": "/some/where/base.yaml", "changes": changes, "overrides": ["seed=3"]}
    (directory / "lineage.json").write_text(json.dumps(lineage))
    # The last line is incomplete, as after a crash.
    lines = [*(json.dumps(event) for event in (log_lines() if events is None else events)), '{"event": "st']
    (directory / "log.jsonl").write_text("\n".join(lines))
    (directory / "evaluation" / "summary.json").write_text(json.dumps(summary()))
    (directory / "evaluation" / "images.csv").write_text(
        f"key,identity,pose,ssim\n001.png,001,0,0.9\n{HOSTILE},002,15,0.1\n003.png,003,0,0.8\n"
    )
    Image.new("RGB", (12, 8)).save(directory / "evaluation" / "grid.png")
    for step in range(0, 50, 10):
        for kind in ("inputs", "outputs", "targets"):
            # All grids of outputs differ.
            Image.new("RGB", (6, 4), (5 * step, 0, 0)).save(directory / "samples" / f"{step:08d}-{kind}.png")
    return directory


def numbers(count: int, seed: int = 0) -> pd.DataFrame:
    """One row per image, with hostile names, labels, and every metric of ``METRICS``."""
    rng = np.random.default_rng(seed)
    places = np.arange(count)
    keys = [f"{place:04d}.png" for place in places]
    identities = [f"{place // 10:03d}" for place in places]
    if count > 3:
        keys[1], identities[2] = HOSTILE_KEY, HOSTILE_IDENTITY
    lights = [place // 5 % 3 for place in places]
    glasses = [("no", "yes", HOSTILE_IDENTITY)[place % 3] for place in places]
    table = pd.DataFrame(
        {"key": keys, "target_key": [f"t{key}" for key in keys], "identity": identities, "light": lights}
    )
    table.insert(3, "pose", [POSES[place % len(POSES)] for place in places])
    table["glasses"] = glasses
    for name in METRICS:
        table[name] = rng.permutation(count) / count + (0.5023 if name == "sharpness" else 0)
    table["lpips@eyes"] = np.where(places % 4 == 0, np.nan, rng.random(count))
    return table


def write_evaluation(folder: Path, count: int, *, tile: int = 16, noise: bool = False, seed: int = 0) -> Path:
    """Write tables, pictures and summary of ``count`` images.

    Args:
        noise: Fill the tiles with noise, which hardly compresses, instead of one colour.
    """
    folder.mkdir(parents=True, exist_ok=True)
    images = numbers(count, seed)
    images.to_csv(folder / "images.csv", index=False)
    for name, shift in (("source", 0.1), ("mean_target", 0.2)):
        table = images.copy()
        for column in METRICS:
            table[column] += shift
        table.to_csv(folder / f"{name}.csv", index=False)
    write_sprites(folder, count, tile, noise=noise)
    content = summary() | {"images": count}
    content["metrics"] = {
        name: metric(float(images[name].mean()), 0.4, 0.6, 0.6, 0.7, higher=higher) | {"ideal": ideal}
        for name, (higher, ideal) in METRICS.items()
    }
    (folder / "summary.json").write_text(json.dumps(content))
    return folder


def write_sprites(folder: Path, count: int, tile: int, *, noise: bool = False) -> None:
    """Write ``pictures/`` and ``pictures.json``, and the first image at full size."""
    (folder / "pictures").mkdir(exist_ok=True)
    rng = np.random.default_rng(0)
    files: dict[str, list[str]] = {role: [] for role in TILES}
    for start in range(0, count, ROWS):
        rows = min(ROWS, count - start)
        for role, colour in zip(TILES, COLOURS, strict=True):
            sprite = np.full((rows * tile, tile, 3), colour, np.uint8)
            if noise:
                # As much detail as in a photograph of a face.
                rough = rng.normal(0, 40, (rows * tile // 4, tile // 4, 3)).repeat(4, 0).repeat(4, 1)
                sprite = (sprite + rough + rng.normal(0, 6, sprite.shape)).clip(0, 255).astype(np.uint8)
            files[role].append(f"{start // ROWS:03d}-{role}.webp")
            Image.fromarray(sprite).save(folder / "pictures" / files[role][-1], quality=82)
    Image.new("RGB", (4 * 4 * tile, 4 * tile), (250, 250, 0)).save(folder / "pictures" / "large-00000.webp")
    large = {"size": 4 * tile, "files": {"0": "large-00000.webp"}}
    about = {"tile": tile, "rows": ROWS, "files": files, "images": count, "large": large}
    (folder / "pictures.json").write_text(json.dumps(about))


def result(control: float, group: float, outcome: str, *, higher: bool = True) -> dict[str, Any]:
    """Result of a test in ``comparison.json``."""
    sign, by = (1 if higher else -1), group - control
    gain = dict(zip(("low", "mean", "high"), sorted((sign * by - 0.01, sign * by, sign * by + 0.01)), strict=True))
    return {
        **{"images": 10, "missing": 0, "identities": 4, "control_mean": control, "group_mean": group},
        **{"compared": "value", "difference": {"mean": by, "low": by - 0.01, "high": by + 0.01}, "gain": gain},
        **{"control_seed_sd": 0.004, "group_seed_sd": 0.006, "p": 0.01, "p_adjusted": 0.0004, "detectable": 0.0123},
        **{"margin": None, "p_equivalent": None, "rank_biserial": 0.9, "d_z": 1.2, "outcome": outcome},
    }


def write_comparison(folder: Path, *, groups: int = 2, count: int = 70, pictures: bool = True) -> Path:
    """Write the files of ``enface compare`` for a control and groups with hostile names, and their evaluations."""
    folder.mkdir(parents=True)
    images = numbers(count)
    names = ["control", HOSTILE, "third"][:groups]
    if pictures:
        for place in range(groups):
            write_evaluation(folder.parent / f"evaluation-{place}", count)
    for place in range(1, groups):
        table = images[["key", "target_key", "identity", "pose", "light", "glasses"]].copy()
        # The group has the images in another order, without the last one.
        table["control_row"], table["group_row"] = range(count), [count - 1 - row for row in range(count)]
        for test in ("ssim", "lpips"):
            table[f"{test}.control"], table[f"{test}.group"] = images[test], images[test] + 0.1 * place
            table[f"{test}.difference"] = table[f"{test}.gain"] = (images[test] - 0.5) * place
        table[:-1].to_csv(folder / f"images-{place}.csv", index=False)
    tests = {
        name: _quantity(name, higher=higher, card={"weights": HOSTILE})
        for name, (higher, ideal) in METRICS.items()
        if ideal is None
    }
    content = {
        **{"format": 2, "confidence": 0.95, "alpha": 0.05, "power": 0.8},
        **{"groups": [_group(place, name, count, pictures) for place, name in enumerate(names)], "tests": tests},
        **{"sets": {"fid": _quantity("fid", higher=False, card={})}, "by_columns": ["pose"]},
        **{"comparisons": [_group_comparison(place, count) for place in range(1, groups)]},
        "caveats": [f"all {HOSTILE}"],
    }
    (folder / "comparison.json").write_text(json.dumps(content))
    return folder


def _quantity(name: str, *, higher: bool, card: dict[str, str]) -> dict[str, Any]:
    direction = "higher is better" if higher else "lower is better"
    about = {"metric": name, "region": None, "higher_is_better": higher, "ideal": None}
    return {**about, "direction": direction, "card": card}


def _group(place: int, name: str, count: int, pictures: bool) -> dict[str, Any]:
    run = {
        **{"directory": f"../run-{place}", "evaluation": f"../evaluation-{place}", "seed": 0, "step": 1000},
        **{"split": "test", "checkpoint": None, "images": count, "identities": 4, "pictures": pictures},
        "report": "javascript:document.title='hacked'",
    }
    change = {"key": "stages.main.steps", "from": 1, "to": HOSTILE, "training": True}
    mean = {"mean": 0.5, "low": 0.4, "high": 0.6, "images": count, "by_seed": {"0": 0.4, "1": 0.6}, "seed_sd": 0.1}
    return {
        **{"name": name, "kind": "run", "seeds": [0, 1], "left_out": [], "caveats": [f"few {HOSTILE}"]},
        **{"runs": [run], "changes": [change] if place else [], "means": {"ssim": mean}, "sets": {}},
    }


def _group_comparison(place: int, count: int) -> dict[str, Any]:
    by = [
        {
            **{"column": "pose", "value": value, "images": 5, "identities": 3},
            "results": {"ssim": result(0.5, group, "unclear")},
        }
        for value, group in (("-15", 0.52), (HOSTILE, 0.4))
    ]
    examples = {"control_only": ["last"], "group_only": []}
    claim = {"text": f"better on ssim than {HOSTILE}", "registered": "2026-01-01T00:00:00", "outcome": "confirmed"}
    claim |= {"reason": "", "p": 0.0123}
    return {
        **{"group": place, "design": "crossed", "about": "", "seeds": {"control": [0, 1], "group": [2, 3]}},
        "claim": claim if place == 1 else None,
        **{"images": {"common": count - 1, "control_only": 1, "group_only": 0, "examples": examples}, "identities": 4},
        "images_file": f"images-{place}.csv",
        "results": {"ssim": result(0.5, 0.6, "better"), "lpips": result(0.3, 0.35, "worse", higher=False)},
        "by": by,
        "sets": {"fid": {"control": 40.0, "group": 30.0, "difference": -10.0, "gain": 10.0}},
        "verdicts": [
            {"test": "ssim", "outcome": "better", "text": "better on ssim by 0.1"},
            {"test": "lpips", "outcome": "worse", "text": f"worse on lpips {HOSTILE}"},
        ],
        "left_out": [{"test": "psnr", "reason": f"unlike cards {HOSTILE}"}],
        "caveats": [f"one seed {HOSTILE}"],
    }
