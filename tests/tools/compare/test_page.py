"""The page of a comparison: differences of each group, and the same faces side by side."""

from __future__ import annotations

import html
import json
import re

import pytest
from outline import Outline

from enface.errors import EnfaceError
from enface_tools.compare.page import write_comparison
from enface_tools.report.numbers import MINUS


def page(folder):
    return write_comparison(folder).read_text(encoding="utf-8")


def visible_text(text):
    outline = Outline(text)
    assert outline.open == []
    return outline.text


def data(text, name="gallery"):
    return json.loads(re.search(rf'id="data-{name}">(.*?)</script>', text, re.S)[1])


@pytest.fixture(scope="module")
def compared(tmp_path_factory, evaluations):
    return evaluations.write_comparison(tmp_path_factory.mktemp("compared") / "a-vs-b")


@pytest.fixture(scope="module")
def text(compared):
    return page(compared)


def rows(text, label):
    table = text[text.index(f'aria-label="{label}') :].partition("</table>")[0]
    body = table.partition("<tbody>")[2]
    return [
        [" ".join(re.sub(r"<[^>]+>", " ", cell).split()) for cell in re.findall(r"<t[hd].*?>(.*?)</t[hd]>", row, re.S)]
        for row in re.findall(r"<tr>(.*?)</tr>", body, re.S)
    ]


def test_the_page_shows_the_differences_of_each_group(text, evaluations):
    shown = visible_text(text)
    assert f"{evaluations.HOSTILE} against control" in shown
    for part in (
        *("better on ssim by 0.1", "69 images of 4 identities in both; 1 only in control.", "Seeds of control: 0, 1;"),
        *("stages.main.steps", "psnr skipped", "fid", "with its 95% interval over people and seeds. sd: of"),
        "the smallest difference that such a comparison detects with 80% power",
        f"better on ssim than {evaluations.HOSTILE}. Confirmed (p 0.0123)",
    ):
        assert part in shown
    differences = rows(text, "Differences of")
    assert [line[:2] for line in differences] == [["ssim ↑", "✓ better"], ["lpips ↓", "✗ worse"]]
    assert differences[1][3:] == [
        "+0.050 [+0.040, +0.060]",
        *("0.350 sd 0.006", "0.300 sd 0.004", "&lt; 0.001", "0.012", "0.90 d_z 1.20"),
    ]


def test_gains_are_on_their_side_of_the_middle(text):
    strips = re.findall(r'<i class="dot (\w+)" style="left: ([\d.]+)%"', text)
    better, worse = (float(place) for _, place in strips[:2])
    assert [outcome for outcome, _ in strips[:2]] == ["better", "worse"]
    assert better > 50 > worse


def test_values_of_a_label_share_one_axis(text, evaluations):
    table = text[text.index('aria-label="ssim of') :].partition("</table>")[0]
    (first, second) = (float(place) for place in re.findall(r'class="dot unclear" style="left: ([\d.]+)%"', table))
    # Gains of 0.02 and -0.1; the farthest end, -0.11, lies at 46 % from the middle.
    assert first == pytest.approx(50 + 46 * 0.02 / 0.11, abs=0.1)
    assert second == pytest.approx(50 - 46 * 0.1 / 0.11, abs=0.1)
    assert [line[0] for line in rows(text, "ssim of")] == [
        f"{MINUS}15",
        "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;",
    ]


def test_hostile_text_is_shown_as_text(text, evaluations):
    assert evaluations.HOSTILE not in text
    assert "javascript:" not in text
    assert visible_text(text).count(evaluations.HOSTILE) >= 12


def test_the_same_faces_are_side_by_side(text, evaluations, compared):
    gallery = data(text)
    assert [tile["name"] for tile in gallery["tiles"]] == ["source", "control", evaluations.HOSTILE, "target"]
    assert gallery["pairs"] == [[1, 2], [0, 1], [2, 3]]
    assert len(gallery["keys"]) == 69
    control, group = gallery["rows"]
    assert control == list(range(69))
    assert group == [69 - row for row in range(69)]
    assert all((compared / file).is_file() for sheet in gallery["sheets"] for files in sheet["files"] for file in files)
    ssim, lpips = gallery["metrics"]
    assert ssim["values"][3] == pytest.approx(evaluations.numbers(70)["ssim"][3] - 0.5, abs=1e-4)
    assert list(lpips["others"]) == ["control", evaluations.HOSTILE]
    assert [label["name"] for label in gallery["labels"]] == ["pose", "light", "glasses"]


def test_several_groups_share_one_gallery(tmp_path, evaluations):
    text = page(evaluations.write_comparison(tmp_path / "many", groups=3))
    gallery = data(text)
    assert [tile["name"] for tile in gallery["tiles"]] == ["source", "control", evaluations.HOSTILE, "third", "target"]
    assert gallery["pairs"][:2] == [[1, 2], [1, 3]]
    assert [metric["name"] for metric in gallery["metrics"]] == [
        f"{test}, {group}" for group in (evaluations.HOSTILE, "third") for test in ("ssim", "lpips")
    ]
    assert len(gallery["rows"]) == 3
    assert visible_text(text)


def test_the_page_opens_with_all_runs_in_a_row(tmp_path, evaluations):
    text = page(evaluations.write_comparison(tmp_path / "many", groups=3))
    assert text.index('id="pictures"') < text.index('id="verdicts"')
    tables = re.findall(r'<table class="seen">(.*?)</table>', text, re.S)
    heads = [html.unescape(head) for head in re.findall(r'<th scope="col">(.*?)</th>', tables[0])]
    assert heads == ["source", "control", evaluations.HOSTILE, "third", "target"]
    labels = re.findall(r'aria-label="(.*?)" style', "".join(tables))
    keys = [html.unescape(label).partition(" of ")[2] for label in labels]
    # One image of each of six people, the k-th of the k-th person's ten, seven further each time.
    images = evaluations.numbers(70)[:-1]
    people = [group["key"].tolist() for _, group in images.groupby("identity", sort=False)][:6]
    assert keys[::5] == [own[number * 7 % len(own)] for number, own in enumerate(people)]
    assert all(len(set(keys[start : start + 5])) == 1 for start in range(0, len(keys), 5))


def test_side_by_side_pictures_are_those_of_the_image(text, evaluations):
    table = re.search(r'<table class="seen">(.*?)</table>', text, re.S)[1]
    second = re.findall(r"<tr><td>(.*?)</tr>", table, re.S)[1]
    key = html.unescape(re.search(r'aria-label="source of (.*?)"', second)[1])
    row = evaluations.numbers(70)["key"].tolist().index(key)
    places = [float(y) for y in re.findall(r"background-position:0% ([\d.]+)%", second)]
    # The control has this row; the group has the images in the opposite order. Sprites of 64 and of 6 images.
    control, group = (100 * (one % 64) / (63 if one < 64 else 5) for one in (row, 69 - row))
    assert places == pytest.approx([control, control, group, control], abs=0.01)


def test_curves_of_all_runs_are_laid_over_each_other(tmp_path, evaluations):
    folder = evaluations.write_comparison(tmp_path / "curves", pictures=False)
    for place, end in enumerate((0.5, 0.6)):
        (tmp_path / f"run-{place}").mkdir()
        events = [
            *({"event": "step", "step": step, "stage": "main", "values": {"term/l1": 1 / step}} for step in (10, 20)),
            {"event": "validated", "step": 20 + place, "values": {"ssim": end}},
        ]
        if place:
            events.append({"event": "step", "step": 30, "stage": "main", "values": {"term/gan": 2.0}})
        (tmp_path / f"run-{place}" / "log.jsonl").write_text("\n".join(map(json.dumps, events)))
    text = page(folder)
    plots = {plot["title"]: plot for plot in data(text, "plots").values()}
    assert list(plots) == ["ssim", "l1", "gan"]
    first, second = plots["ssim"]["panels"][0]["traces"]
    assert (first["name"], first["x"], first["y"]) == ("control", [20], [0.5])
    assert (second["name"], second["x"], second["y"]) == (evaluations.HOSTILE, [21], [0.6])
    assert first["role"] != second["role"]
    assert first["dashes"] != second["dashes"]
    (only,) = plots["gan"]["panels"][0]["traces"]
    assert (only["role"], only["dashes"]) == (second["role"], second["dashes"])
    assert text.index('id="curves"') < text.index('id="verdicts"')
    assert 'id="step-to" min="0" max="30"' in text
    assert (folder / "assets" / "plotly.js").is_file()


def test_without_logs_there_are_no_curves(text, compared):
    assert 'id="curves"' not in text
    assert not (compared / "assets" / "plotly.js").exists()


def test_without_pictures_the_numbers_are_there(tmp_path, evaluations):
    text = page(evaluations.write_comparison(tmp_path / "bare", pictures=False))
    assert "The evaluations have no pictures" in text
    assert data(text)["tiles"] == []
    assert len(data(text)["keys"]) == 69


def test_a_missing_table_of_images_is_reported(tmp_path, evaluations):
    folder = evaluations.write_comparison(tmp_path / "gone")
    (folder / "images-1.csv").unlink()
    text = page(folder)
    assert "The table of the shared images (images-1.csv) is missing" in text
    assert "better on ssim" in visible_text(text)


def test_an_existing_report_is_linked(tmp_path, evaluations):
    folder = evaluations.write_comparison(tmp_path / "linked", pictures=False)
    report = tmp_path / "run 0" / "report" / "index.html"
    report.parent.mkdir(parents=True)
    report.write_text("")
    content = json.loads((folder / "comparison.json").read_text())
    content["groups"][0]["runs"][0]["report"] = "../run 0/report/index.html"
    (folder / "comparison.json").write_text(json.dumps(content))
    assert '<a href="../run%200/report/index.html">../run-0</a>' in page(folder)


@pytest.mark.parametrize("content", [None, "{", "[]", "{}", '{"groups": []}'])
def test_a_missing_or_damaged_comparison_is_named(tmp_path, content):
    if content is not None:
        (tmp_path / "comparison.json").write_text(content)
    with pytest.raises(EnfaceError, match=r"comparison.json is (missing or )?damaged"):
        write_comparison(tmp_path)


def page_or_error(folder):
    try:
        return visible_text(page(folder))
    except EnfaceError as error:
        return str(error)


def test_odd_contents_give_a_page_or_an_error_that_names_the_file(tmp_path, evaluations):
    folder = evaluations.write_comparison(tmp_path / "odd", pictures=False)
    whole = json.loads((folder / "comparison.json").read_text())
    pair, group = whole["comparisons"][0], whole["groups"][1]
    for value in (None, 3, [1], {"a": {"results": 3}}, [{"a": 1}]):
        odd = [
            *({**whole, key: value} for key in whole),
            *({**whole, "comparisons": [{**pair, key: value}]} for key in pair),
            *({**whole, "groups": [whole["groups"][0], {**group, key: value}]} for key in group),
        ]
        for content in odd:
            (folder / "comparison.json").write_text(json.dumps(content))
            assert re.search(
                r"Recipe changes|comparison.json is damaged \(.*: .*\); make it again with enface compare$",
                page_or_error(folder),
            )


def test_only_its_own_files_are_removed(tmp_path, evaluations):
    folder = evaluations.write_comparison(tmp_path / "kept")
    (folder / "data").mkdir()
    (folder / "data" / "mine.txt").write_text("kept")
    page(folder)
    page(folder)
    assert (folder / "data" / "mine.txt").is_file()
    assert (folder / "assets" / "group-0" / "000-output.webp").is_file()
