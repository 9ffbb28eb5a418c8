"""Tables and the picture of benchmarks/generators.py, by enface's own statistics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

import pandas as pd
from PIL import Image, ImageDraw

from artifacts import cell
from enface_tools.compare.comparison import Comparison, compare
from enface_tools.compare.groups import Group
from enface_tools.compare.outcomes import MeanInterval
from enface_tools.evaluate.models import PictureIndex, parse
from enface_tools.evaluate.results import Results
from enface_tools.evaluate.splits import Split
from generator_plan import METRICS, NAMES, STAGES, Job, Setup

TITLES = ("SSIM", "LPIPS", "sharpness")
BASELINES = {"source": "copying the source", "mean_target": "mean face"}
LABEL_WIDTH = 90


def cost_table(
    chosen: Sequence[Setup],
    speeds: Mapping[str, Any],
    steps: Mapping[str, Mapping[str, int]],
    rates: Mapping[str, Any],
) -> str:
    """Return a row per network: parameters, GFLOP, speed, memory, learning rate, steps.

    Args:
        speeds: ``networks`` of ``speed.json``.
        steps: Of each network and stage.
        rates: ``rates.json``.
    """
    columns = [
        *("network", "parameters", "GFLOP per image", "images/s, `pixels`", "images/s, `adversarial`"),
        *("images/s, outputs only", "memory of training, MiB", "learning rate", "steps"),
    ]
    rows = []
    for setup in chosen:
        item, taken = speeds[str(setup)], steps[str(setup)]
        speed = [f"{item[kind]['images_per_second']:.0f}" for kind in (*STAGES, "inference")]
        memory = ", ".join(f"{value:.0f}" for value in item.get("memory_mib", {}).values())
        rate = f"{rates[setup.name]['rate']:g}" if setup.name in rates else ""
        counts = ", ".join(f"{taken[stage]:,}" for stage in STAGES)
        rows.append([f"`{setup.name}`, {setup.size}", f"{item['parameters'] / 1e6:.2f} M", f"{item['gflop']:.2f}"])
        rows[-1] += [*speed, memory, rate, counts]
    return _markdown(columns, rows)


def result_tables(jobs: Sequence[Job], split: Split) -> str:
    """Return the tables of one size: means after each stage, differences to the best, and gains by stage.

    Raises:
        SystemExit: if there are fewer than two networks, or a run is not evaluated.
    """
    names = [name for name in NAMES if any(job.setup.name == name for job in jobs)]
    if len(names) < 2:
        raise SystemExit("a table compares at least two networks; name more with --only")
    size = jobs[0].setup.size
    parts = [f"### {size}, {split} people, seeds {', '.join(map(str, _seeds(jobs)))}"]
    comparisons = {stage: _stage_comparison(jobs, stage, split) for stage in STAGES}
    rows = [row for stage in STAGES for row in _mean_rows(comparisons[stage], stage, names)]
    parts.append(_markdown(["network", "after", *TITLES], [*rows, *_baseline_rows(jobs[0], split)]))
    for stage in STAGES:
        parts.append(f"After `{stage}`, relative to the best network on validation people:")
        parts.append(_markdown(["network", *TITLES], _difference_rows(comparisons[stage], names)))
    parts.append("`adversarial` relative to `pixels`:")
    parts.append(_markdown(["network", *TITLES], [_gain_row(jobs, name, split) for name in names]))
    return "\n\n".join(parts)


def best_network(jobs: Sequence[Job], stage: str) -> str:
    """Return the network with the lowest mean LPIPS over seeds and validation people after a stage."""
    scores: dict[str, list[float]] = {}
    for job in jobs:
        scores.setdefault(job.setup.name, []).append(job.summary(stage, "val")["metrics"]["lpips"]["mean"])
    return min(scores, key=lambda name: mean(scores[name]))


def _seeds(jobs: Sequence[Job]) -> list[int]:
    return sorted({job.content["seed"] for job in jobs})


def _stage_comparison(jobs: Sequence[Job], stage: str, split: Split) -> Comparison:
    best = best_network(jobs, stage)
    control = next(job for job in jobs if job.setup.name == best)
    paths = [job.stage_folder(stage, split) for job in jobs]
    return compare(paths, control.stage_folder(stage, split), split=split, metrics=METRICS)


def _name(group: Group) -> str:
    """The network of a group, whose name ends with the checkpoint's."""
    return group.name.partition(" ")[0]


def _mean_rows(comparison: Comparison, stage: str, names: Sequence[str]) -> list[list[str]]:
    means = {_name(group): item for group, item in zip(comparison.groups, comparison.means, strict=True)}
    cells = {name: [_interval(means[name][metric].interval) for metric in METRICS] for name in names}
    return [[f"`{name}`", f"`{stage}`", *cells[name]] for name in names]


def _baseline_rows(job: Job, split: Split) -> list[list[str]]:
    metrics = Results.read(job.stage_folder(STAGES[-1], split)).summary.metrics
    return [
        [title, "", *(f"{metrics[metric].baselines[name]:.3f}" for metric in METRICS)]
        for name, title in BASELINES.items()
    ]


def _difference_rows(comparison: Comparison, names: Sequence[str]) -> list[list[str]]:
    rows = {_name(comparison.control): ["the best"] * len(METRICS)}
    for item in comparison.comparisons:
        results = {result.quantity.name: result for result in item.results}
        rows[_name(item.group)] = [cell(results[metric]) for metric in METRICS]
    return [[f"`{name}`", *rows[name]] for name in names]


def _gain_row(jobs: Sequence[Job], name: str, split: Split) -> list[str]:
    own = [job for job in jobs if job.setup.name == name]
    paths = [job.stage_folder(stage, split) for stage in STAGES for job in own]
    (item,) = compare(paths, split=split, metrics=METRICS).comparisons
    results = {result.quantity.name: result for result in item.results}
    return [f"`{name}`", *(cell(results[metric]) for metric in METRICS)]


def _interval(item: MeanInterval) -> str:
    return f"{item.mean:.3f} [{item.low:.3f}, {item.high:.3f}]"


def _markdown(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def write_picture(jobs: Sequence[Job], stage: str, split: Split, people: int, path: Path) -> None:
    """Write a picture of sources, each network's outputs and targets, one column per person.

    Args:
        jobs: One run of each network.
        people: Number of people, at most.
    """
    folders = {job.setup.name: job.stage_folder(stage, split) for job in jobs}
    first = next(iter(folders.values()))
    places = example_rows(Results.read(first).images, people)
    rows = [("source", first, "source")]
    rows += [(name, folder, "output") for name, folder in folders.items()]
    rows.append(("target", first, "target"))
    tiles = [(label, _tiles(folder, role, places)) for label, folder, role in rows]
    side = tiles[0][1][0].height
    sheet = Image.new("RGB", (LABEL_WIDTH + side * len(places), side * len(tiles)), "white")
    draw = ImageDraw.Draw(sheet)
    for row, (label, images) in enumerate(tiles):
        draw.text((4, row * side + side // 2 - 6), label, fill="black", font_size=13)
        for column, image in enumerate(images):
            sheet.paste(image, (LABEL_WIDTH + column * side, row * side))
    sheet.save(path, optimize=True)
    print(path)


def example_rows(images: pd.DataFrame, people: int) -> list[int]:
    """Return one row of each of the first people, whose poses take turns; the first row of a person without the pose.

    Args:
        images: ``images.csv`` of an evaluation.
    """
    names = sorted(images["identity"].unique())[:people]
    poses = sorted(images["pose"].unique())
    rows = []
    for number, name in enumerate(names):
        own = images[images["identity"] == name]
        wanted = own[own["pose"] == poses[number % len(poses)]]
        rows.append(int((wanted if len(wanted) else own).index[0]))
    return rows


def _tiles(folder: Path, role: str, places: Sequence[int]) -> list[Image.Image]:
    """Read images of one role from the sprites of an evaluation."""
    index = folder / "pictures.json"
    if not index.is_file():
        raise SystemExit(f"{index} does not exist: only the first seed of `test` keeps pictures; check --seeds")
    sprites = parse(index.read_text(encoding="utf-8"), PictureIndex, str(index))
    tiles = []
    for place in places:
        number, row = divmod(place, sprites.rows)
        with Image.open(folder / "pictures" / sprites.files[role][number]) as image:
            top = row * sprites.tile
            tiles.append(image.convert("RGB").crop((0, top, sprites.tile, top + sprites.tile)))
    return tiles
