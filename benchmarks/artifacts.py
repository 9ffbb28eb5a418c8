"""Recipes against a control, each trained with several seeds: the table and the picture of docs/artifacts.md.

    python benchmarks/artifacts.py CONTROL RECIPE... [--split test] [--picture FILE]

CONTROL and each RECIPE are folders of runs (runs/NAME), one run per seed; of several with one seed the newest counts.
Prints, for every metric, the mean over all runs, and below it the difference to the control with its 95 % interval over
seeds and people, bold if `enface compare` calls it better or worse. Below, the same as sentences.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from PIL import Image, ImageDraw

from enface_tools.compare.comparison import Comparison, compare
from enface_tools.compare.groups import Group
from enface_tools.compare.outcomes import QuantityResult
from enface_tools.evaluate.splits import evaluation_folder

LABEL_WIDTH = 150
GRID_ROWS = 3  # source, output, target


def label(group: Group) -> str:
    """Return the short name of a recipe."""
    return group.name.removeprefix("artifacts-")


def cell(result: QuantityResult) -> str:
    """Return a mean, and below it the difference to the control."""
    item = result.difference
    text = f"{item.mean:+.4f} [{item.low:+.4f}, {item.high:+.4f}]"
    return f"{result.group:.4f}<br>{f'**{text}**' if result.outcome in ('better', 'worse') else text}"


def print_table(comparison: Comparison, metrics: list[str]) -> None:
    """Print a row for each recipe, then the verdicts."""
    print(f"| recipe | {' | '.join([*metrics, 'seeds'])} |")
    print("|---" * (len(metrics) + 2) + "|")
    means = comparison.means[0]
    rows = [(comparison.control, [f"{means[name].interval.mean:.4f}" for name in metrics])]
    for item in comparison.comparisons:
        results = {result.quantity.name: result for result in item.results}
        rows.append((item.group, [cell(results[name]) for name in metrics]))
    for group, cells in rows:
        print(f"| `{label(group)}` | {' | '.join([*cells, ' '.join(map(str, group.by_seed))])} |")
    for item in comparison.comparisons:
        print(f"\n{label(item.group)}:")
        for _, text in item.verdicts:
            print(f"- {text}")


def write_picture(groups: list[Group], split: str, path: Path, columns: int) -> None:
    """Write a picture of the sources, a row of outputs per recipe, and the targets, from the first seed's grids."""
    grids = [Image.open(evaluation_folder(group.members[0].directory, split) / "grid.png") for group in groups]
    height = grids[0].height // GRID_ROWS
    width = min(grids[0].width, columns * height + 2)
    rows = [("source", grids[0], 0)]
    rows += [(label(group), grid, 1) for group, grid in zip(groups, grids, strict=True)]
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
    parser.add_argument("--metrics", default="ssim,lpips,sharpness,mae_boundary")
    parser.add_argument("--split", choices=["val", "test"], default="val")
    parser.add_argument("--picture", type=Path)
    parser.add_argument("--columns", type=int, default=8)
    arguments = parser.parse_args()
    metrics = arguments.metrics.split(",")
    folders = [folder for folder in arguments.recipes if folder != arguments.control]
    comparison = compare(folders, arguments.control, split=arguments.split, metrics=metrics)
    print_table(comparison, metrics)
    if arguments.picture is not None:
        write_picture(comparison.groups, arguments.split, arguments.picture, arguments.columns)


if __name__ == "__main__":
    main()
