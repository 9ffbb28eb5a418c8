"""Recipes against a control, each trained with several seeds: the table and the picture of docs/artifacts.md.

    python benchmarks/artifacts.py CONTROL RECIPE... [--picture FILE]

CONTROL and each RECIPE are folders of runs (runs/NAME), one run per seed; of several with one seed the newest counts.
Prints, for every metric, the mean over all images and seeds, and the difference to the control of the same seeds.
Images are averaged over seeds first; the 95 % interval resamples identities.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd
import yaml
from PIL import Image, ImageDraw

from enface.recipe.load import runs_in
from enface_tools.evaluate.statistics import interval

RESAMPLES = 10_000
LABEL_WIDTH = 150
GRID_ROWS = 3  # source, output, target


def by_seed(folder: Path) -> dict[int, Path]:
    """Return the newest evaluated run of each seed."""
    evaluated = [run for run in runs_in(folder) if (run / "evaluation" / "images.csv").is_file()]
    runs = {yaml.safe_load((run / "recipe.yaml").read_text())["seed"]: run for run in evaluated}
    assert runs, f"{folder} has no evaluated run"
    return dict(sorted(runs.items()))


def image_metrics(run: Path) -> pd.DataFrame:
    """Return a run's metrics, one row per image, indexed by its key."""
    return pd.read_csv(run / "evaluation" / "images.csv", dtype={"key": str, "identity": str}).set_index("key")


def mean_over_seeds(runs: dict[int, Path], metrics: list[str]) -> pd.DataFrame:
    """Return each image's metrics, averaged over the seeds."""
    tables = [image_metrics(run)[metrics] for run in runs.values()]
    assert all(item.index.equals(tables[0].index) for item in tables), "the runs were evaluated on different images"
    mean: pd.DataFrame = sum(tables[1:], start=tables[0]) / len(tables)
    return mean


def table_row(folder: Path, control: Path, metrics: list[str]) -> str:
    """Return a recipe's row of the table: means, and under each its difference to the control."""
    runs, control_runs = by_seed(folder), by_seed(control)
    seeds = [seed for seed in control_runs if seed in runs]
    assert seeds, f"{folder} and {control} have no seed in common"
    values = mean_over_seeds({seed: runs[seed] for seed in seeds}, metrics)
    base = mean_over_seeds({seed: control_runs[seed] for seed in seeds}, metrics)
    identity = image_metrics(control_runs[seeds[0]])["identity"].to_numpy()
    cells = [f"`{folder.name.removeprefix('artifacts-')}`"]
    for name in metrics:
        change = (values[name] - base[name]).to_numpy()
        cell = f"{values[name].mean():.4f}"
        if folder != control:
            low, high = interval(change, identity, RESAMPLES, 0)
            cell += f"<br>{change.mean():+.4f} [{low:+.4f}, {high:+.4f}]"
        cells.append(cell)
    if "lpips" in metrics and folder == control:
        cells.append("")
    elif "lpips" in metrics:
        cells.append(f"{100 * (values['lpips'].mean() / base['lpips'].mean() - 1):+.1f} %")
    cells.append(" ".join(str(seed) for seed in seeds))
    return f"| {' | '.join(cells)} |"


def write_picture(folders: list[Path], path: Path, columns: int) -> None:
    """Write a picture of the sources, a row of outputs per recipe, and the targets, from the first seed's grids."""
    grids = [Image.open(next(iter(by_seed(folder).values())) / "evaluation" / "grid.png") for folder in folders]
    height = grids[0].height // GRID_ROWS
    width = min(grids[0].width, columns * height + 2)
    names = [folder.name.removeprefix("artifacts-") for folder in folders]
    rows = [("source", grids[0], 0), *((name, grid, 1) for name, grid in zip(names, grids, strict=True))]
    rows.append(("target", grids[0], 2))
    sheet = Image.new("RGB", (LABEL_WIDTH + width, height * len(rows)), "white")
    draw = ImageDraw.Draw(sheet)
    for number, (name, grid, row) in enumerate(rows):
        sheet.paste(grid.crop((0, row * height, width, (row + 1) * height)), (LABEL_WIDTH, number * height))
        draw.text((4, number * height + height // 2 - 6), name, fill="black", font_size=13)
    sheet.save(path, optimize=True)


def main() -> None:
    """Print the table; write the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("control", type=Path)
    parser.add_argument("recipes", nargs="+", type=Path)
    parser.add_argument("--metrics", default="ssim,lpips,sharpness,l1_boundary")
    parser.add_argument("--picture", type=Path)
    parser.add_argument("--columns", type=int, default=8)
    arguments = parser.parse_args()
    metrics = arguments.metrics.split(",")
    folders = [arguments.control, *arguments.recipes]
    extra = ["LPIPS change"] if "lpips" in metrics else []
    print(f"| recipe | {' | '.join([*metrics, *extra, 'seeds'])} |")
    print("|---" * (len(metrics) + len(extra) + 2) + "|")
    for folder in folders:
        print(table_row(folder, arguments.control, metrics))
    if arguments.picture is not None:
        write_picture(folders, arguments.picture, arguments.columns)


if __name__ == "__main__":
    main()
