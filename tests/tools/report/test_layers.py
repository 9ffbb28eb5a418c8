"""The report's section on layers: it shows the evaluation's pictures and shares, and no more than these."""

from __future__ import annotations

import colorsys
import json
import re

import numpy as np
import pytest
from PIL import Image

from enface_tools.report.layers import flow_wheel
from enface_tools.report.run_page import write_report

LAYERS = ["source", "mirror", "painted"]
ROWS = ["source", "moved", "mirrored", "painted", "masks", "flow", "output", "target"]
HEADING = "Where the output's pixels come from"


def shares(*means, half=0.03):
    return {
        "images": 20,
        "shares": {
            name: {"mean": mean, "low": max(mean - half, 0), "high": mean + half}
            for name, mean in zip(LAYERS, means, strict=True)
        },
    }


def content():
    by_pose = {"60": shares(0.3, 0.3, 0.4), "-60": shares(0.4, 0.25, 0.35), "0": shares(0.96, 0.03, 0.01)}
    face = {"all": shares(0.5, 0.2, 0.3), "by": {"pose": by_pose | {"60": shares(0.1, 0.2, 0.7)}}}
    light = {"0": shares(0.6, 0.25, 0.15), "1": shares(0.6, 0.25, 0.15)}
    pixels = {"all": shares(0.61, 0.24, 0.15), "by": {"light": light, "pose": by_pose}}
    return {"layers": LAYERS, "rows": ROWS, "longest_flow": 12.34, "pixels": pixels, "regions": {"face": face}}


@pytest.fixture
def page(tmp_path, evaluations):
    """Write the report of a run whose evaluation has some layers; return its section on them."""
    run = evaluations.write_run(tmp_path / "run", [])

    def write(layers, picture=True):
        (run / "evaluation" / "layers.json").write_text(layers if isinstance(layers, str) else json.dumps(layers))
        if picture:
            # Two images; the colour tells the row.
            grid = np.zeros((len(ROWS) * 8 + 2, 2 * 8 + 2, 3), np.uint8)
            for row in range(len(ROWS)):
                grid[2 + 8 * row : 8 + 8 * row, 2:] = 30 * row + 10
            Image.fromarray(grid).save(run / "evaluation" / "layers.png")
        text = write_report(run).read_text(encoding="utf-8")
        return text, text.partition('<h2 id="layers">')[2].partition("</section>")[0]

    return write


def cells(section, label):
    """The rows of a table as text."""
    table = section.partition(f'aria-label="{label}"')[2].partition("</table>")[0]
    rows = re.findall(r"<tr>(.*?)</tr>", table, re.S)
    found = [re.findall(r"<t[hd].*?</t[hd]>", row) for row in rows]
    return [[" ".join(re.sub("<.*?>", "", cell).split()) for cell in row] for row in found]


def test_the_section_tells_shares_by_pose_in_order(page):
    text, section = page(content())
    assert '<a href="#layers">Layers</a>' in text
    assert section.startswith(HEADING)
    assert "61 % moved, 24 % mirrored, 15 % painted, on average over all pixels of 20 test images." in section
    head, *rows = cells(section, "Shares by pose")
    assert head == ["Pose", "0100 %", "Moved", "Mirrored", "Painted", "Images"]
    assert [row[0] for row in rows] == ["\N{MINUS SIGN}60", "0", "60"]
    assert rows[2] == ["60", "", "30 % [27, 33]", "30 % [27, 33]", "40 % [37, 43]", "20"]
    assert "width:40.0%;background:#d55e00" in section
    assert cells(section, "Painted share by pose and region") == [
        ["Pose", "face"],
        ["\N{MINUS SIGN}60", "35 % [32, 38]"],
        ["0", "1 % [0, 4]"],
        ["60", "70 % [67, 73]"],
    ]
    assert cells(section, "Shares by region")[1][:5] == ["face", "", "50 % [47, 53]", "20 % [17, 23]", "30 % [27, 33]"]
    assert section.index("Shares by pose") < section.index("Shares by light"), "other labels are folded away"


def test_every_image_has_a_row_with_all_pictures(page):
    _, section = page(content())
    tables = re.findall(r'<table class="seen">(.*?)</table>', section, re.S)
    assert len(tables) == 1
    assert re.findall(r'<th scope="col">(.*?)</th>', tables[0]) == ROWS
    assert re.findall(r'aria-label="(.*?)"', tables[0])[:8] == [f"{name} of image 1" for name in ROWS]
    assert tables[0].count("<tr><td>") == 2
    assert "full colour: 12.3 px or more" in section
    assert "its place in the source" in section


def test_without_flow_poses_or_regions(page):
    small = content() | {"longest_flow": None, "regions": {}, "rows": ["source", "masks"]}
    small["pixels"]["by"] = {}
    text, section = page(small)
    assert "wheel" not in section
    assert "<h3>" not in section
    # A grid of another shape is shown whole.
    assert 'src="assets/layers.webp"' in section
    assert "layers.png" not in "".join(re.findall('<p class="missing">(.*?)</p>', text))


def test_names_of_layers_are_text(page):
    hostile = json.dumps(content()).replace('"mirror"', '"<i>x</i>"')
    text, section = page(hostile)
    assert "<i>x</i>" not in text
    assert "24 % &lt;i&gt;x&lt;/i&gt;" in section


def test_a_damaged_file_is_reported_and_the_rest_is_shown(page):
    text, section = page("{", picture=False)
    assert not section
    assert "evaluation/layers.json is damaged" in text
    text, section = page(content(), picture=False)
    assert "61 % moved" in section
    assert "<img" not in section


def test_a_run_without_layers_has_no_section(tmp_path, evaluations):
    text = write_report(evaluations.write_run(tmp_path / "other", [])).read_text(encoding="utf-8")
    assert HEADING not in text
    assert "#layers" not in text


def test_the_wheel_goes_from_red_at_the_right_over_yellow_below_to_blue():
    """The Middlebury wheel, whose second axis points down."""
    stops = [tuple(map(int, stop)) for stop in re.findall(r"rgb\((\d+) (\d+) (\d+)\)", flow_wheel())]
    assert len(stops) == 25
    assert stops[0] == (255, 0, 0)
    hues = [360 * colorsys.rgb_to_hsv(*(value / 255 for value in stop))[0] for stop in stops]
    # Clockwise from the right: down, left, up.
    assert hues[6] == pytest.approx(56, abs=8)
    assert hues[12] == pytest.approx(185, abs=15)
    assert hues[18] == pytest.approx(268, abs=15)
