"""Recipes against a control, each trained with several seeds: the table and the picture of docs/artifacts.md.

    python benchmarks/artifacts.py CONTROL RECIPE... [--picture FILE]

CONTROL and each RECIPE are folders of runs (runs/NAME), one run a seed; of several with one seed the newest counts.
For every metric: the mean over all images and seeds, and the difference to the control of the same seed. Images are
averaged over seeds first; the 95 % interval resamples identities.
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
LABEL = 150
TILES = 3  # rows of a run's grid: source, output, target


def by_seed(folder: Path) -> dict[int, Path]:
    """The newest evaluated run of each seed."""
    runs = [run for run in runs_in(folder) if (run / "evaluation" / "images.csv").is_file()]
    found = {yaml.safe_load((run / "recipe.yaml").read_text())["seed"]: run for run in runs}
    assert found, f"{folder} has no evaluated run"
    return dict(sorted(found.items()))


def table(run: Path) -> pd.DataFrame:
    """A run's numbers, a row an image, by its key."""
    return pd.read_csv(run / "evaluation" / "images.csv", dtype={"key": str, "identity": str}).set_index("key")


def mean_over_seeds(runs: dict[int, Path], metrics: list[str]) -> pd.DataFrame:
    """Each image's numbers, averaged over the seeds."""
    tables = [table(run)[metrics] for run in runs.values()]
    assert all(item.index.equals(tables[0].index) for item in tables), "the runs were tested on different images"
    found: pd.DataFrame = sum(tables[1:], start=tables[0]) / len(tables)
    return found


def line(folder: Path, control: Path, metrics: list[str]) -> str:
    """A recipe's row of the table: means, and under each its difference to the control."""
    ours, theirs = by_seed(folder), by_seed(control)
    seeds = [seed for seed in theirs if seed in ours]
    assert seeds, f"{folder} and {control} have no seed in common"
    mine = mean_over_seeds({seed: ours[seed] for seed in seeds}, metrics)
    base = mean_over_seeds({seed: theirs[seed] for seed in seeds}, metrics)
    identity = table(theirs[seeds[0]])["identity"].to_numpy()
    cells = [f"`{folder.name.removeprefix('artifacts-')}`"]
    for name in metrics:
        apart = (mine[name] - base[name]).to_numpy()
        cell = f"{mine[name].mean():.4f}"
        if folder != control:
            low, high = interval(apart, identity, RESAMPLES, 0)
            cell += f"<br>{apart.mean():+.4f} [{low:+.4f}, {high:+.4f}]"
        cells.append(cell)
    if "lpips" in metrics and folder == control:
        cells.append("")
    elif "lpips" in metrics:
        cells.append(f"{100 * (mine['lpips'].mean() / base['lpips'].mean() - 1):+.1f} %")
    cells.append(" ".join(str(seed) for seed in seeds))
    return f"| {' | '.join(cells)} |"


def picture(folders: list[Path], path: Path, columns: int) -> None:
    """The sources, a row a recipe, and the targets: the first seed's grids, one above the other."""
    grids = [Image.open(next(iter(by_seed(folder).values())) / "evaluation" / "grid.png") for folder in folders]
    tall = grids[0].height // TILES
    width = min(grids[0].width, columns * tall + 2)
    names = [folder.name.removeprefix("artifacts-") for folder in folders]
    rows = [("source", grids[0], 0), *((name, grid, 1) for name, grid in zip(names, grids, strict=True))]
    rows.append(("target", grids[0], 2))
    sheet = Image.new("RGB", (LABEL + width, tall * len(rows)), "white")
    draw = ImageDraw.Draw(sheet)
    for number, (name, grid, row) in enumerate(rows):
        sheet.paste(grid.crop((0, row * tall, width, (row + 1) * tall)), (LABEL, number * tall))
        draw.text((4, number * tall + tall // 2 - 6), name, fill="black", font_size=13)
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
        print(line(folder, arguments.control, metrics))
    if arguments.picture is not None:
        picture(folders, arguments.picture, arguments.columns)


if __name__ == "__main__":
    main()
