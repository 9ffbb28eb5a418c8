"""Rows of source, output and target, cut out of the grids of an evaluation, of stages and of training."""

from __future__ import annotations

import html
import json
import re

import numpy as np
import pytest
from PIL import Image

from enface_tools.report.rows import image_size
from enface_tools.report.run_page import write_report


@pytest.fixture
def run(tmp_path, evaluations):
    """A run whose files a test may change."""
    return evaluations.write_run(tmp_path / "run", [])


def page(directory):
    return write_report(directory).read_text(encoding="utf-8")


def numbered(path, rows, columns, size, black=()):
    """A grid whose images are colours: the row in red, the column in green, plus 1."""
    height, width = size
    pixels = np.zeros((rows * (height + 2) + 2, columns * (width + 2) + 2, 3), np.uint8)
    for row in range(rows):
        for column in range(columns):
            top, left = 2 + row * (height + 2), 2 + column * (width + 2)
            colour = (0, 0, 0) if (row, column) in black else (10 * row + 1, 10 * column + 1, 200)
            pixels[top : top + height, left : left + width] = colour
    Image.fromarray(pixels).save(path)


def headings_of(text, number=0):
    table = re.findall(r'<table class="seen">(.*?)</table>', text, re.S)[number]
    return re.findall(r'<th scope="col">(.*?)</th>', table)


def colours(text, folder, number=0):
    """The colour that each tile of a table shows in its middle, by its CSS."""
    table = re.findall(r'<table class="seen">(.*?)</table>', text, re.S)[number]
    return [
        [colour(folder, html.unescape(style)) for style in re.findall(r'style="(.*?)"', row)]
        for row in re.findall(r"<tr><td>(.*?)</tr>", table, re.S)
    ]


def colour(folder, style):
    file, across, down, x, y, shape = re.search(
        r"url\('(.*?)'\);background-size:(\S+)% (\S+)%;background-position:(\S+)% (\S+)%;aspect-ratio:(\S+)", style
    ).groups()
    image = Image.open(folder / file).convert("RGB")
    # A background of w px on a box of 1000 px begins at x % of the difference.
    box = (1000.0, 1000.0 / float(shape))
    size = [side * float(percent) / 100 for side, percent in zip(box, (across, down), strict=True)]
    start = [(whole - side) * float(percent) / 100 for whole, side, percent in zip(size, box, (x, y), strict=True)]
    middle = [
        (begin + side / 2) * pixels / whole
        for begin, side, pixels, whole in zip(start, box, image.size, size, strict=True)
    ]
    return image.getpixel(tuple(map(int, middle)))


@pytest.mark.parametrize("size", [(6, 6), (9, 4)])
def test_the_evaluation_is_shown_as_rows_of_source_output_and_target(run, size):
    numbered(run / "evaluation" / "grid.png", 3, 4, size)
    (run / "recipe.yaml").write_text(f"name: rows\ndata: {{size: {list(size)}}}\n")
    text = page(run)
    assert headings_of(text) == ["source", "output", "target"]
    shown = [row for table in range(3) for row in colours(text, run / "report", table)]
    assert shown == [[(10 * role + 1, 10 * image + 1, 200) for role in range(3)] for image in range(4)]
    assert "Rows: " not in text


def test_many_images_are_folded_away(run):
    numbered(run / "evaluation" / "grid.png", 3, 12, (4, 4))
    text = page(run)
    first, rest = text.partition('<details class="rest"><summary>6 more images')[::2]
    assert first.count('<span class="tile"') == 6 * 3
    assert rest.partition("</details>")[0].count('<span class="tile"') == 6 * 3


def test_samples_are_rows_and_black_cells_are_no_images(run):
    (run / "recipe.yaml").write_text("name: rows\ndata: {size: 5}\n")
    for path in (run / "samples").glob("*.png"):
        path.unlink()
    # Nine images, eight a row.
    black = [(1, column) for column in range(1, 8)]
    for step in (0, 10):
        for kind in ("inputs", "outputs", "targets"):
            numbered(run / "samples" / f"{step:08d}-{kind}.png", 2, 8, (5, 5), black)
    text = page(run)
    part = text[text.index('id="samples"') :]
    tables = len(re.findall('<table class="seen">', part))
    shown = [row for table in range(tables) for row in colours(part, run / "report", table)]
    assert len(shown) == 9
    assert shown[8] == [(11, 1, 200)] * 3
    assert part.count(" data-sample") == 9
    assert headings_of(part) == ["source", "output", "target"]


def test_each_stage_is_a_column_between_source_and_target(run):
    metrics = {"ssim": {"mean": 0.8, "low": 0.7, "high": 0.9}}
    stages = {name: {"step": 10, "after": None, "metrics": metrics} for name in ("warm", "main")}
    (run / "evaluation" / "stages").mkdir()
    (run / "evaluation" / "stages.json").write_text(json.dumps(stages))
    for name in stages:
        numbered(run / "evaluation" / "stages" / f"{name}.png", 3, 2, (6, 6))
    text = page(run)
    part = text[text.index('id="stages"') :]
    assert headings_of(part) == ["source", "after warm", "after main", "target"]
    assert colours(part, run / "report") == [[(1, 1, 200), (11, 1, 200), (11, 1, 200), (21, 1, 200)]]
    assert re.findall(r"background-image:url\(&#39;(.*?)&#39;", part)[1:3] == [
        "assets/stages/0.webp",
        "assets/stages/1.webp",
    ]
    assert 'aria-label="output of image 1 after stage warm"' in part


def test_images_of_another_system_may_have_no_sources(tmp_path, evaluations):
    folder = evaluations.write_evaluation(tmp_path / "pairs", 5)
    numbered(folder / "grid.png", 2, 3, (4, 4))
    summary = json.loads((folder / "summary.json").read_text())
    for item in summary["metrics"].values():
        item["baselines"], item["gains"] = {}, {}
    (folder / "summary.json").write_text(json.dumps(summary | {"by": {}, "kind": "pairs"}))
    text = page(folder)
    assert headings_of(text) == ["output", "target"]
    shown = [row for table in range(3) for row in colours(text, folder / "report", table)]
    assert shown == [[(1, 10 * image + 1, 200), (11, 10 * image + 1, 200)] for image in range(3)]


@pytest.mark.parametrize(
    ("recipe", "size"),
    [
        ("data: {size: 64}", (64, 64)),
        ("data: {size: [32, 48]}", (32, 48)),
        *((text, None) for text in ("", "data: 3", "data: {size: big}", "data: {size: [1]}", "data: {size: 0}", "{")),
    ],
)
def test_the_size_of_images_is_that_of_the_recipe(recipe, size):
    assert image_size(recipe) == size
