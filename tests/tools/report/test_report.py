"""The report: a self-contained folder, whatever files are missing, damaged or hostile."""

from __future__ import annotations

import html
import json
import math
import re
import shutil

import numpy as np
import pandas as pd
import pytest
from outline import Outline
from PIL import Image

from enface.errors import EnfaceError
from enface_tools.evaluate.models import MetricSummary, StageSummary, Summary
from enface_tools.report.curves import LOSSES, POINTS, read_log, training_plots
from enface_tools.report.files import embedded, rounded
from enface_tools.report.gallery import gallery
from enface_tools.report.numbers import MINUS, NONE, Direction, key_numbers, shown, verdicts
from enface_tools.report.pictures import MAX_GRIDS, error_scale
from enface_tools.report.run_page import write_report
from enface_tools.report.stages import stage_metrics, stage_table
from enface_tools.report.tables import heat_maps, label_tables, spread


@pytest.fixture(scope="module")
def whole(tmp_path_factory, evaluations):
    """A whole run's directory, with its report."""
    directory = evaluations.write_run(tmp_path_factory.mktemp("whole") / "20260101-000000")
    write_report(directory)
    return directory


@pytest.fixture(scope="module")
def text(whole):
    """Its page."""
    return (whole / "report" / "index.html").read_text(encoding="utf-8")


@pytest.fixture
def run(tmp_path, evaluations):
    """A run whose files a test may change."""
    return evaluations.write_run(tmp_path / "run", [{"event": "validated", "step": 1, "values": {"ssim": 0.7}}])


def page(directory):
    return write_report(directory).read_text(encoding="utf-8")


def data(text, name):
    """Data of a page's scripts."""
    return json.loads(re.search(rf'<script type="application/json" id="data-{name}">(.*?)</script>', text, re.S)[1])


def problems(text):
    return [plain(problem) for problem in re.findall(r'<p class="missing"[^>]*>(.*?)</p>', text, re.S)]


def caveats(text):
    found = re.search(r'<section class="caveats".*?</section>', text, re.S)
    return [plain(item) for item in re.findall(r"<li>(.*?)</li>", found[0], re.S)] if found else []


def lines(events):
    return "\n".join(map(json.dumps, events))


def plain(markup):
    return " ".join(re.sub(r"<[^>]+>", " ", markup).split())


def test_page_holds_the_whole_run(text):
    words = Outline(text).text
    for part in (
        "tiny",
        "20260101-000000",
        "0.812",
        "[0.800, 0.830]",
        "1 unreadable image was",
        f"{MINUS}90",
        "41.5",
    ):
        assert part in words
    for heading in (
        *(
            "Caveats",
            "Key numbers",
            "Metrics of the whole set",
            "Unavailable metrics",
            "Distribution over images",
            "Images",
        ),
        *(
            "By region",
            "Pose \N{MULTIPLICATION SIGN} light",
            "By attribute",
            "Discriminators",
            "Losses",
            "Validation metrics",
        ),
        *(
            "Samples over training",
            "Changes from base.yaml",
            "Commands to reproduce the run",
            "Recipe with all defaults",
        ),
    ):
        assert heading in words
    assert "checkpoint step-00012000, running average of the weights" in words
    assert "git checkout abc123" in words
    assert not [one for one in problems(text) if "plots need" not in one and "There are no pictures" not in one]


def test_html_is_well_formed_and_images_have_alternative_text(text, whole):
    outline = Outline(text)
    assert outline.open == []
    images = [attributes for tag, attributes in outline.tags if tag == "img"]
    assert len(images) == 1
    tiles = [attributes for _, attributes in outline.tags if attributes.get("class") == "tile"]
    assert [tile["aria-label"] for tile in tiles] == [
        f"{role} of all images" for role in ("source", "output", "target")
    ]
    assert all(tile["role"] == "img" for tile in tiles)
    assert all(image["alt"] and (whole / "report" / image["src"]).is_file() for image in images)
    ids = [attributes["id"] for _, attributes in outline.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    links = {attributes["href"][1:] for tag, attributes in outline.tags if tag == "a" and attributes["href"][0] == "#"}
    assert links <= set(ids)


def test_headings_of_tables_say_what_they_are_of(text):
    headings = [attributes for tag, attributes in Outline(text).tags if tag == "th"]
    assert len(headings) > 40
    assert all(heading["scope"] in ("row", "col") for heading in headings)


def test_nothing_is_requested_from_a_network(text, whole):
    for tag, attributes in Outline(text).tags:
        assert tag not in ("iframe", "object", "embed", "base", "form")
        for name in ("src", "href", "srcset", "data", "poster"):
            value = attributes.get(name) or "#"
            inside = (whole / "report" / value).is_file() and ".." not in value
            assert value.startswith("#") or value == "data:," or inside, (tag, name, value)
    ours = re.sub(r'<script type="application/json".*?</script>', "", text, flags=re.S)
    assert "@import" not in ours
    assert re.findall(r"https?://[^\s<&]+", ours) == ["https://example.org"]
    policy = re.search(r'Content-Security-Policy" content="(.*?)"', text)[1]
    assert policy.startswith("default-src &#39;none&#39;")
    assert "unsafe-inline" not in policy.partition("script-src")[2]


def test_hostile_text_is_shown_as_text(text, evaluations):
    assert evaluations.HOSTILE not in text
    # Caveats, a reason, regions, labels, cards, recipe, environment, a change, a key and the stage.
    assert text.count("&lt;script&gt;alert(&#39;x&#39;)") >= 10
    assert data(text, "gallery")["keys"][1] == evaluations.HOSTILE


def test_data_of_scripts_cannot_end_them():
    hostile = "</script><!--\u2028\u2029&"
    script = embedded({"a": [hostile, math.nan, math.inf], hostile: np.nan})
    assert not re.search("[<>&\u2028\u2029]", script)
    assert json.loads(script) == {"a": [hostile, None, None], hostile: None}


def test_verdict_names_better_worse_and_unclear(text):
    lines = re.search(r'<ul class="verdicts">(.*?)</ul>', text, re.S)[1]
    assert [plain(line) for line in re.findall(r"<li>(.*?)</li>", lines, re.S)] == [
        "✓ better than both baselines on ssim ( 0.812 ; +0.112 [+0.100, +0.130] vs. the mean target) .",
        f"≈ not clearly different from the mean target, though better than the source, on psnr "
        f"( 21.5 ; {MINUS}0.2 [{MINUS}0.7, +0.3] vs. the mean target) .",
        "✗ worse than the mean target, though better than the source, on lpips "
        "( 0.310 ; +0.030 [+0.020, +0.040] vs. the mean target) .",
    ]


def test_categories_are_bars_from_zero_with_whiskers(evaluations):
    content = evaluations.summary()
    content["metrics"] = {"d": evaluations.metric(0.0, -1.0, 1.0, 3.0, 2.0) | {"ideal": 2.0}}

    def group(mean):
        item = {"mean": mean, "low": mean - 0.5, "high": mean + 0.5, "images": 5, "identities": 5}
        return {"images": 5, "metrics": {"d": {**item, "baselines": {"source": 3.0, "mean_target": None}}}}

    content |= {"regions": {}, "by_two": {}, "by": {"pose": {"-15": group(-0.5), "0": group(1.0)}}}
    ((table,),) = label_tables(Summary(**content)).values()
    # The axis goes from -1 to 3: 0 is at a quarter.
    assert (table.low, table.high) == ("-1", "3")
    first, second = (line.bar for line in table.lines)
    assert first == {"zero": 25.0, "low": 0.0, "mean": 12.5, "high": 25.0, "source": 100.0, "ideal": 75.0}
    assert second == {"zero": 25.0, "low": 37.5, "mean": 50.0, "high": 62.5, "source": 100.0, "ideal": 75.0}


def test_the_error_map_has_a_scale(tmp_path, evaluations):
    scale = error_scale()
    colours = re.findall(r"rgb\((\d+) (\d+) (\d+)\)", scale.gradient)
    # Inferno goes from black to pale yellow.
    assert (colours[0], colours[-1]) == (("0", "0", "4"), ("252", "255", "164"))
    assert scale.highest == 0.5
    text = page(evaluations.write_evaluation(tmp_path / "pairs", 5))
    ticks = re.findall(r'<span class="ticks" aria-hidden="true">(.*?)</span></span>', text)
    # Above the gallery and in the dialog.
    assert [plain(one) for one in ticks] == ["0 0.25 ≥ 0.5"] * 2


def test_reasons_keep_their_lines(run, evaluations):
    summary = evaluations.summary() | {"unavailable": {"lpips": "first line\nsecond line"}}
    (run / "evaluation" / "summary.json").write_text(json.dumps(summary))
    text = page(run)
    assert "<dd>first line\nsecond line</dd>" in text
    assert re.search(r"\bdd \{[^}]*white-space: pre-line", text)


def test_poses_are_in_the_order_of_numbers(text):
    table = re.search(r'aria-label="ssim by pose">(.*?)</table>', text, re.S)[1]
    assert re.findall(r'<tr><th scope="row">(.*?)</th>', table) == [f"{MINUS}90", f"{MINUS}15", "0", "90"]


def test_every_sample_grid_is_under_the_slider(text, whole):
    grids = data(text, "samples")
    assert [grid["step"] for grid in grids] == [0, 10, 20, 30, 40]
    assert all((whole / "report" / grid["file"]).is_file() and grid["alt"] for grid in grids)
    assert 'min="0" max="4" value="4"' in text


def test_of_many_sample_grids_some_are_shown(run):
    for step in range(100, 100 + 3 * MAX_GRIDS):
        shutil.copy(run / "samples" / "00000000-outputs.png", run / "samples" / f"{step:08d}-outputs.png")
    grids = data(page(run), "samples")
    assert len(grids) == MAX_GRIDS
    assert (grids[0]["step"], grids[-1]["step"]) == (0, 99 + 3 * MAX_GRIDS)


def test_the_folder_alone_is_the_report(text, whole, tmp_path):
    copied = tmp_path / "elsewhere"
    shutil.copytree(whole / "report", copied)
    shutil.rmtree(tmp_path / "whole", ignore_errors=True)
    wanted = {attributes.get("src") or attributes.get("href") for tag, attributes in Outline(text).tags if tag != "use"}
    wanted |= {grid["file"] for grid in data(text, "samples")} | set(
        re.findall(r"background-image:url\('(.*?)'\)", html.unescape(text))
    )
    files = [name for name in wanted if name and name[0] != "#" and name != "data:,"]
    assert len(files) > 10
    assert all((copied / name).is_file() for name in files)
    assert (copied / "data" / "images.csv").read_bytes() == (whole / "evaluation" / "images.csv").read_bytes()


@pytest.mark.parametrize(
    ("gone", "message"),
    [
        ("evaluation/summary.json", "has not been evaluated"),
        ("evaluation/grid.png", "There is no picture of the evaluation"),
        ("evaluation/images.csv", "There is no table of images"),
        ("log.jsonl", "The log is empty"),
        ("recipe.yaml", "recipe.yaml is missing"),
        ("environment.json", "environment.json is missing"),
    ],
)
def test_a_missing_file_is_named(run, gone, message):
    (run / gone).unlink()
    text = page(run)
    assert message in text
    assert Outline(text).open == []


@pytest.mark.parametrize(
    "name",
    [
        *("evaluation/summary.json", "environment.json", "lineage.json", "evaluation/stages.json"),
        *("evaluation/pictures.json", "evaluation/checkpoints.json"),
        *("evaluation/grid.png", "samples/00000040-outputs.png"),
    ],
)
def test_a_damaged_file_is_named(run, name):
    (run / name).write_bytes(b"\x00{")
    text = page(run)
    assert any(problem.startswith(f"{name} is ") for problem in problems(text))
    assert Outline(text).open == []


@pytest.mark.parametrize("table", ["images", "source"])
def test_a_damaged_table_is_named(run, table):
    (run / "evaluation" / f"{table}.csv").write_text('key,ssim\n"a,0.1\nb,0.2,7\n')
    text = page(run)
    assert f"evaluation/{table}.csv is damaged; it is not shown." in problems(text)


def test_a_summary_of_anything_leaves_the_page_whole(run, evaluations):
    summary = evaluations.summary()
    for key in summary:
        for value in (None, 3, [1], {"a": {"metrics": 3}}):
            (run / "evaluation" / "summary.json").write_text(json.dumps(summary | {key: value}))
            text = page(run)
            assert "Images" in text
            assert Outline(text).open == []


def test_an_empty_run_has_a_page(tmp_path):
    text = page(tmp_path)
    assert tmp_path.name in text
    assert "There are no sample grids" in text
    assert Outline(text).open == []


def test_evaluation_of_nothing_and_of_nan(run, evaluations):
    path = run / "evaluation" / "summary.json"
    path.write_text(json.dumps({**evaluations.summary(), "metrics": {}, "by_two": {}, "images": 3}))
    assert "has not been evaluated on any metric" in page(run)
    path.write_text(json.dumps({**evaluations.summary(), "metrics": {"ssim": evaluations.metric(*[math.nan] * 5)}}))
    assert "no number" in page(run)


def test_missing_directory_is_named(tmp_path):
    with pytest.raises(EnfaceError, match="nowhere does not exist"):
        write_report(tmp_path / "nowhere")


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "report").write_text("a file where the folder would be")
    with pytest.raises(EnfaceError, match="report"):
        write_report(tmp_path)


def test_writing_again_gives_the_same_page(run):
    first = page(run)
    files = sorted(path for path in (run / "report").rglob("*"))
    assert page(run) == first
    assert sorted((run / "report").rglob("*")) == files
    assert {path.name for path in (run / "report").iterdir()} == {"assets", "data", "index.html"}


def test_files_removed_from_a_run_are_removed_from_its_report(run):
    page(run)
    (run / "samples" / "00000020-outputs.png").unlink()
    (run / "evaluation" / "images.csv").unlink()
    page(run)
    left = {path.relative_to(run / "report").as_posix() for path in (run / "report").rglob("*.*")}
    assert "assets/samples/00000010-outputs.webp" in left
    assert not {"assets/samples/00000020-outputs.webp", "data/images.csv"} & left


def test_a_changed_picture_is_copied_again(run):
    page(run)
    shown = run / "report" / "assets" / "grid.webp"
    before = shown.read_bytes()
    Image.new("RGB", (30, 20), (255, 0, 0)).save(run / "evaluation" / "grid.png")
    page(run)
    assert shown.read_bytes() != before
    (run / "evaluation" / "grid.png").write_bytes(b"no picture")
    assert "evaluation/grid.png is not an image that can be read." in problems(page(run))
    assert not shown.exists()


def test_only_a_page_that_is_watched_loads_itself_again(run):
    assert 'http-equiv="refresh"' not in page(run)
    text = write_report(run, refresh=7).read_text(encoding="utf-8")
    assert '<noscript><meta http-equiv="refresh" content="7"></noscript>' in text
    assert re.search('<body[^>]* data-refresh="7">', text)


def test_evaluated_pairs_have_a_page_without_training(tmp_path, evaluations):
    folder = evaluations.write_evaluation(tmp_path / "pairs", 5)
    Image.new("RGB", (8, 8)).save(folder / "grid.png")
    text = page(folder)
    outline = Outline(text)
    assert "Key numbers" in outline.text
    assert "Training" not in outline.text
    assert "recipe.yaml is missing" not in outline.text
    assert len(data(text, "gallery")["keys"]) == 5
    assert outline.open == []
    assert "Rows: source, output, target." in outline.text


def test_pairs_without_sources_do_not_mention_them(tmp_path, evaluations):
    folder = evaluations.write_evaluation(tmp_path / "pairs", 5)
    Image.new("RGB", (8, 8)).save(folder / "grid.png")
    summary = json.loads((folder / "summary.json").read_text())
    for item in summary["metrics"].values():
        item["baselines"], item["gains"] = {}, {}
    summary["by"], summary["kind"] = {}, "pairs"
    (folder / "summary.json").write_text(json.dumps(summary))
    text = page(folder)
    assert "unchanged source image" not in Outline(text).text


# ------------------------------------------------------------------ the gallery


def test_the_gallery_has_every_image_with_its_numbers(tmp_path, evaluations):
    folder = evaluations.write_evaluation(tmp_path / "pairs", 130)
    shown = data(page(folder), "gallery")
    images = evaluations.numbers(130)
    assert shown["keys"] == images["key"].tolist()
    assert shown["identities"][2] == evaluations.HOSTILE_IDENTITY
    assert [label["name"] for label in shown["labels"]] == ["pose", "light", "glasses"]
    assert shown["labels"][0]["choices"] == ["-90", "-15", "0", "15", "90"]
    metrics = {metric["name"]: metric for metric in shown["metrics"]}
    assert list(metrics) == ["ssim", "lpips", "sharpness", "lpips@eyes"]
    assert (metrics["lpips"]["higher"], metrics["sharpness"]["ideal"], metrics["ssim"]["arrow"]) == (False, 1.0, "↑")
    assert metrics["ssim"]["values"] == pytest.approx(images["ssim"].tolist(), rel=1e-4)
    assert metrics["ssim"]["others"]["mean target"][3] == pytest.approx(images["ssim"][3] + 0.2, rel=1e-4)
    assert metrics["lpips@eyes"]["values"][0] is None
    (sheet,) = shown["sheets"]
    assert (sheet["rows"], sheet["images"], [len(files) for files in sheet["files"]]) == (64, 130, [3] * 4)
    files = [file for role in sheet["files"] for file in role]
    assert all((folder / "report" / file).is_file() for file in [*files, sheet["large"]["0"]])
    assert [tile["name"] for tile in shown["tiles"]] == ["source", "output", "target", "error map"]
    assert shown["pairs"] == [[0, 1], [1, 2]]


def test_pictures_outside_of_their_folder_are_not_shown(tmp_path, evaluations):
    folder = evaluations.write_evaluation(tmp_path / "pairs", 5)
    shutil.copy(folder / "pictures" / "000-output.webp", folder / "secret.webp")
    about = json.loads((folder / "pictures.json").read_text())
    about |= {
        "files": {"output": ["../secret.webp"]},
        "large": {"size": 9, "files": {"0": "../secret.webp", "x": "000-output.webp"}},
    }
    (folder / "pictures.json").write_text(json.dumps(about))
    text = page(folder)
    assert "pictures/../secret.webp is missing." in problems(text)
    (sheet,) = data(text, "gallery")["sheets"]
    assert (sheet["files"], sheet["large"]) == ([[""]], {})


def test_a_damaged_sprite_is_named(tmp_path, evaluations):
    folder = evaluations.write_evaluation(tmp_path / "pairs", 70)
    (folder / "pictures" / "001-output.webp").write_bytes(b"no picture")
    text = page(folder)
    assert "pictures/001-output.webp is not an image that can be read." in problems(text)
    files = data(text, "gallery")["sheets"][0]["files"]
    assert files[1][1] == ""
    assert all(files[role][number] for role, number in ((0, 0), (0, 1), (1, 0), (2, 1)))


def test_roles_with_different_numbers_of_sprites_are_refused(tmp_path, evaluations):
    folder = evaluations.write_evaluation(tmp_path / "pairs", 5)
    about = json.loads((folder / "pictures.json").read_text())
    about["files"]["target"] = []
    (folder / "pictures.json").write_text(json.dumps(about))
    assert any(problem.startswith("pictures.json is damaged (files: roles have") for problem in problems(page(folder)))


def test_a_metric_may_be_called_as_a_label_is(tmp_path, run, evaluations):
    images = run / "evaluation" / "images.csv"
    images.write_text("key,identity,pose,identity\na,007,0,0.25\nb,008,15,0.75\n")
    summary = evaluations.summary()
    summary["metrics"] = {"identity": evaluations.metric(0.5, 0.4, 0.6, 0.1, 0.2)}
    (run / "evaluation" / "summary.json").write_text(json.dumps(summary))
    text = page(run)
    shown = data(text, "gallery")
    assert shown["identities"] == ["007", "008"]
    assert [label["name"] for label in shown["labels"]] == ["pose"]
    assert [(metric["name"], metric["values"]) for metric in shown["metrics"]] == [("identity", [0.25, 0.75])]
    assert "identity 0.25 0.28 0.50 0.72 a" in plain(text.partition('aria-label="Distribution')[2])


def test_a_baseline_of_other_images_is_left_out():
    images = pd.DataFrame({"key": ["a", "b"], "ssim": [0.1, 0.2]})
    shown = gallery(images, {"source": images[:1], "mean_target": images}, {"ssim": Direction(True)}, {}, None)
    assert shown["metrics"][0]["others"] == {"mean target": [0.1, 0.2]}


# ------------------------------------------------------------------ tables and plots


def test_a_heat_map_tells_the_worst_from_the_best(evaluations):
    columns, (heat_map,) = heat_maps(Summary(**evaluations.summary()))["pose x light"]
    assert columns == ["0", "1"]
    # Lower is better; the poses come in the order of numbers, and one cell has no image.
    (first, cells), (second, others) = heat_map.rows
    assert (first, [cell.heat for cell in cells]) == ("-90", [None, 0.0])
    assert (second, [cell.heat for cell in others]) == ("-15", [1.0, pytest.approx(2 / 3, abs=1e-3)])
    assert cells[0].text == NONE
    assert cells[0].title == "", "evaluated before cells were counted"


def test_a_cell_of_a_heat_map_has_its_images_and_people(run, evaluations):
    summary = evaluations.summary()
    table = summary["by_two"]["pose x light"]
    table |= {"images": {"lpips": [[12, 1200], [0, 1]]}, "identities": {"lpips": [[3, 40], [0, 1]]}}
    _, (heat_map,) = heat_maps(Summary(**summary))["pose x light"]
    assert [cell.title for cell in heat_map.rows[1][1]] == ["images: 12, people: 3", "images: 1,200, people: 40"]
    (run / "evaluation" / "summary.json").write_text(json.dumps(summary))
    assert '<td title="images: 1,200, people: 40" style="--grade: 0.667">0.200</td>' in page(run)


def test_a_heat_map_grades_distances_to_an_ideal(evaluations):
    summary = evaluations.summary()
    summary["metrics"]["sharpness"] = {**evaluations.metric(1.0, 0.9, 1.1, 0.5, 0.7), "ideal": 1.0}
    table = summary["by_two"]["pose x light"]
    # All means are ideal; the images of two cells are not.
    table["metrics"] = {"sharpness": [[1.0, 1.0], [1.0, 1.0]]}
    table["distances"] = {"sharpness": [[0.0, 0.2], [0.4, None]]}
    _, (heat_map,) = heat_maps(Summary(**summary))["pose x light"]
    assert [[cell.heat for cell in cells] for _, cells in heat_map.rows] == [[0.0, None], [1.0, 0.5]]


def test_recognition_stands_beside_the_sources(run, evaluations):
    summary = evaluations.summary()
    summary["metrics"]["rank_1"] = {**evaluations.metric(0.6, 0.5, 0.7, 0.2, 0.1), "gallery": True}
    for pose, group in summary["by"]["pose"].items():
        interval = {"low": 0.125, "high": 0.75}
        group["metrics"] = {"rank_1": {"mean": 0.5, **interval, "baselines": {"source": float(pose == "0")}}}
        group["metrics"]["tar"] = {"mean": 0.25, **interval, "baselines": {"source": 0.375}}
    summary["metrics"]["tar"] = dict(summary["metrics"]["rank_1"])
    (run / "evaluation" / "summary.json").write_text(json.dumps(summary))
    text = page(run)
    first, second = text[text.index("Recognition by pose") :].split("</table>")[:2]
    assert re.findall(r"<td>([\d.]+)</td><td>", first) == ["0.0", "0.0", "1.0", "0.0"]
    assert second.count("[0.1, 0.8]") == second.count("<td>0.4</td>") == 4
    assert 'aria-label="tar by pose"' in second


def test_other_checkpoints_have_a_table(run):
    numbers = {"ssim": {"mean": 0.5, "low": 0.4, "high": 0.6}}
    (run / "evaluation" / "checkpoints.json").write_text(
        json.dumps({"best": {"step": 40, "file": "best", "weights": "plain", "metrics": numbers}})
    )
    table = page(run).partition('aria-label="Other checkpoints on test people">')[2].partition("</table>")[0]
    assert plain(table).endswith(f"best 40 0.50 [0.40, 0.60] {NONE} {NONE}")


def test_validation_people_have_a_table_beside_the_test_people(run, evaluations):
    folder = run / "evaluation" / "val"
    folder.mkdir()
    content = evaluations.summary() | {"split": "val", "images": 7}
    content["metrics"] = {"ssim": evaluations.metric(0.7, 0.6, 0.8, 0.5, 0.6)}
    (folder / "summary.json").write_text(json.dumps(content))
    numbers = {"ssim": {"mean": 0.5, "low": 0.4, "high": 0.6}}
    (folder / "checkpoints.json").write_text(
        json.dumps({"best": {"step": 40, "file": "best", "weights": "plain", "metrics": numbers}})
    )
    text = page(run)
    table = plain(text.partition('aria-label="Validation">')[2].partition("</table>")[0])
    assert "this network 12,000 0.70 [0.60, 0.80]" in table
    assert f"best 40 0.50 [0.40, 0.60] {NONE} {NONE}" in table
    assert "On 20 images of 4 identities" in text, "the verdict is that of the test people"
    (run / "evaluation" / "summary.json").unlink()
    text = page(run)
    assert "On 7 images of 4 identities" in text, "the test people were never opened"
    assert "· val split" in text


def test_looks_at_the_test_people_are_listed(run):
    seen = {"last": {"checkpoint": "step-00012000", "weights": "average", "metrics": {"ssim": 0.8123, "fid": None}}}
    first = {"date": "2026-01-02T03:04:05+00:00", "by": "run", "variant": "a", "people": "p", "seen": seen}
    log = run / "evaluation" / "openings.jsonl"
    log.write_text(json.dumps(first) + "\n")
    text = page(run)
    assert "Looks at the test people: 1" in text
    assert f"2026-01-02 03:04:05 run last ssim 0.812, fid {NONE}" in plain(text)
    assert "seen" not in " ".join(caveats(text))
    log.write_text(log.read_text() + json.dumps(first | {"variant": "b", "by": "evaluate"}) + "\n")
    assert any("were seen 2 times, with 2 recipes" in sentence for sentence in caveats(page(run)))
    log.write_text(log.read_text() + "{\n")
    assert any("openings.jsonl, line 3 is damaged" in problem for problem in problems(page(run)))


def test_long_curves_are_drawn_as_means_of_stretches():
    events = [{"event": "step", "step": step, "values": {"term/l1": step % 2}} for step in range(10 * POINTS)]
    (plot,) = training_plots(read_log(lines(events)))[LOSSES]
    (trace,) = plot.panels[0].traces
    assert len(trace.x) == POINTS
    assert set(trace.y) == {0.5}
    assert trace.x[0] == 4.5


def test_a_critic_stands_beside_the_generator(evaluations):
    plots = training_plots(read_log(lines(evaluations.log_lines())))
    (plot,) = plots["Discriminators"]
    assert [trace.name for trace in plot.panels[0].traces] == ["discriminator patch", "generator"]
    assert len({trace.role for trace in plot.panels[0].traces}) == 2
    assert "generator: from -0.5 at step 600" in plot.spoken
    raw, weighted = plots["Losses"][0].panels
    assert (raw.label, weighted.label) == ("raw (log scale)", "weighted (log scale)")
    assert all(plot.linked and [start for start, _ in plot.marks] == [0, 300] for plot in plots["Losses"])


def test_numbers_are_shortened_to_what_a_page_shows():
    assert rounded([1 / 3, 123456.7, math.nan, None, "x"]) == [0.33333, 123460.0, None, None, None]


# ------------------------------------------------------------------ stages


def stages_measured():
    """Two stages: the second is better on ssim, worse on lpips, and unclear on psnr."""
    changes = {"ssim": (0.0123, 0.01, 0.02), "lpips": (0.05, 0.04, 0.06), "psnr": (-0.2, -0.5, 0.1)}
    first = {name: {"mean": mean, "low": 0.0, "high": 1.0} for name, mean in (("ssim", 0.8), ("lpips", 0.26))}
    first["psnr"] = {"mean": 21.7, "low": 0.0, "high": 30.0}
    second = {
        name: {
            "mean": first[name]["mean"] + change[0],
            "low": 0.0,
            "high": 30.0,
            "change": dict(zip(("mean", "low", "high"), change, strict=True)),
        }
        for name, change in changes.items()
    }
    return {
        "warm": {"step": 3000, "after": None, "metrics": first},
        "main": {"step": 12000, "after": "warm", "metrics": second},
    }


def write_stages(run, stages):
    folder = run / "evaluation" / "stages"
    folder.mkdir()
    (run / "evaluation" / "stages.json").write_text(json.dumps(stages))
    for name in stages:
        Image.new("RGB", (12, 8)).save(folder / f"{name}.png")


def test_each_stage_has_its_numbers_and_changes(run):
    stages = stages_measured()
    stages["main"] |= {"weights": "average", "caveat": "main started from other weights."}
    write_stages(run, stages)
    text = page(run)
    assert '<p class="note">main started from other weights.</p>' in text
    table = re.search(r'aria-label="Metrics of each stage">(.*?)</table>', text, re.S)[1]
    rows = re.findall(r"<tr>(.*?)</tr>", table, re.S)
    cells = [[plain(cell) for cell in re.findall(r"<t[hd].*?>(.*?)</t[hd]>", row, re.S)] for row in rows]
    assert cells[0][0] == "Stage"
    assert cells[0][-3:] == ["Step", "Weights", "Started from"]
    assert cells[1] == ["warm", "0.8", "0.3", "22", "3,000", NONE, NONE]
    assert cells[2] == [
        *("main", "1 +0.012 ✓ [+0.010, +0.020]", "0 +0.050 ✗ [+0.040, +0.060]"),
        *(f"22 {MINUS}0.2 [{MINUS}0.5, +0.1]", "12,000", "average", "warm"),
    ]
    assert re.findall(rf'<span class="under (\w+)">[+{MINUS}]', table) == ["better", "worse", "unclear"]


def test_each_stage_shows_the_same_faces(run):
    write_stages(run, stages_measured())
    outline = Outline(page(run))
    assert outline.open == []
    alts = [attributes["alt"] for tag, attributes in outline.tags if tag == "img"]
    assert [alt for alt in alts if "after stage" in alt] == [
        f"Sources, outputs and targets of test images after stage {name}." for name in ("warm", "main")
    ]
    (run / "evaluation" / "stages" / "warm.png").unlink()
    (run / "evaluation" / "stages" / "main.png").write_bytes(b"no picture")
    text = page(run)
    assert "after stage" not in text
    assert "evaluation/stages/main.png is not an image that can be read" in text


def test_the_table_of_stages_is_small():
    assert stage_metrics(["mae", "psnr", "sharpness", "ssim", "lpips"]) == ["ssim", "lpips", "sharpness"]
    assert stage_metrics(["mae", "psnr", "fid", "rank_1"]) == ["mae", "psnr", "fid"]


def test_a_run_without_measured_stages_does_not_mention_them(run):
    assert "Metrics of each stage" not in page(run)


@pytest.mark.parametrize("content", ["{", "[]", '{"a": 3}', '{"a": {}}', '{"a": {"step": null, "metrics": []}}'])
def test_damaged_stages_leave_the_page_whole(run, content):
    (run / "evaluation" / "stages.json").write_text(content)
    text = page(run)
    assert "Key numbers" in text
    assert "evaluation/stages.json is damaged" in text
    assert "evaluate again" in text
    assert Outline(text).open == []


def test_a_change_is_better_or_worse_by_the_metrics_direction():
    stages = {name: StageSummary(**stage) for name, stage in stages_measured().items()}
    for higher in (True, False):
        cells = stage_table(stages, dict.fromkeys(("ssim", "lpips"), Direction(higher)))[1].cells
        assert [cell.outcome for cell in cells] == (["better", "better"] if higher else ["worse", "worse"])
    (cell,) = stage_table(stages, {"ssim": Direction(True)})[0].cells
    assert (cell.mean, cell.change, cell.outcome) == ("0.8", "", "none")
    (cell,) = stage_table(stages, {"gone": Direction(True)})[0].cells
    assert cell.mean == NONE


# ------------------------------------------------------------------ numbers and log


def key_number(name, item):
    return key_numbers({name: MetricSummary(**item)})[0]


@pytest.mark.parametrize(
    ("value", "places", "text"),
    [(-0.0123, 3, f"{MINUS}0.012"), (-0.0001, 3, "0.000"), (math.inf, 1, "∞"), (math.nan, 2, NONE)],
)
def test_numbers_are_typeset(value, places, text):
    assert shown(value, places) == text


@pytest.mark.parametrize(
    ("low", "high", "higher", "outcome"),
    [
        (0.8, 0.9, True, "better"),
        (0.5, 0.6, True, "worse"),
        (0.6, 0.8, True, "unclear"),
        (0.2, 0.4, False, "better"),
        (0.6, 0.7, False, "worse"),
    ],
)
def test_outcome_is_against_both_baselines(low, high, higher, outcome, evaluations):
    item = evaluations.metric((low + high) / 2, low, high, 0.5, 0.7, higher=higher)
    number = key_number("m", item)
    assert (number.outcome, number.rival.name) == (outcome, "mean_target" if higher else "source")


@pytest.mark.parametrize(
    ("distance", "outcome"), [(0.1, "better"), (0.4, "worse"), (0.6, "worse"), (0.25, "unclear"), (0.35, "unclear")]
)
def test_an_ideal_can_be_missed_on_both_sides(distance, outcome, evaluations):
    """The mean is ideal, but the images are not: their mean distance is compared with 0.5 and 0.3 of the baselines."""
    item = evaluations.metric(1.0, 0.9, 1.1, 0.5, 1.3) | {"ideal": 1.0}
    item["distances"] = {"output": distance, "source": 0.5, "mean_target": 0.3}
    item["gains"] = {
        name: {"mean": distance - other, "low": distance - other - 0.08, "high": distance - other + 0.08}
        for name, other in (("source", 0.5), ("mean_target", 0.3))
    }
    number = key_number("sharpness", item)
    assert (number.outcome, number.rival.name, number.direction.arrow) == (outcome, "mean_target", "→1")
    assert number.direction.words == "nearer to 1 is better"
    assert number.rival.difference == f"{'+' if distance > 0.3 else MINUS}{abs(distance - 0.3):.2f}"


def test_the_best_line_of_a_table_is_the_nearest_to_the_ideal(evaluations):
    content = evaluations.summary()
    content["metrics"] = {"sharpness": evaluations.metric(1.0, 0.9, 1.1, 0.5, 1.3) | {"ideal": 1.0}}
    content |= {"regions": {}, "by_two": {}}

    def group(distance):
        item = {"mean": 1.0, "low": 0.9, "high": 1.1, "images": 5, "identities": 5, "baselines": {"source": 0.8}}
        return {"images": 5, "metrics": {"sharpness": {**item, "distances": {"output": distance, "source": 0.2}}}}

    content["by"] = {"pose": {"0": group(0.1), "15": group(0.3)}}
    ((table,),) = label_tables(Summary(**content)).values()
    assert [(line.value, line.best) for line in table.lines] == [("0", True), ("15", False)]


def test_a_stage_that_overshoots_the_ideal_is_worse():
    def cell(mean: float, change: float) -> str:
        estimate = {"mean": change, "low": change - 0.01, "high": change + 0.01}
        metrics = {"sharpness": {"mean": mean, "low": mean, "high": mean, "change": estimate}}
        stages = {"main": StageSummary(step=1, after="first", metrics=metrics)}
        return stage_table(stages, {"sharpness": Direction(True, 1.0)})[0].cells[0].outcome

    # Distances to 1: from 0.4 below to 0.1 below, and from 0.1 below to 0.5 above.
    assert cell(0.9, -0.3) == "better"
    assert cell(1.5, 0.4) == "worse"


def test_the_worst_image_is_the_farthest_from_the_ideal():
    images = pd.DataFrame({"key": ["a", "b", "c"], "sharpness": [0.9, 1.7, 0.5]})
    (line,) = spread(images, {"sharpness": Direction(True, 1.0)}, {"sharpness": 2})
    assert (line["key"], line["worst"], line["median"], line["best_5"]) == ("b", "1.70", "0.50", "0.90")


def test_without_intervals_the_verdict_compares_nothing(evaluations):
    item = {**evaluations.metric(0.75, 0.6, 0.9, 0.4, 0.5), "low": None, "high": None}
    item["gains"] = {name: {"mean": 0.05, "low": None, "high": None} for name in item["baselines"]}
    (line,) = verdicts([key_number("m", item)])
    assert (line.outcome, line.words) == ("unclear", "without intervals, so without a verdict, on")


def test_gains_decide_where_the_mean_alone_cannot(evaluations):
    item = evaluations.metric(0.75, 0.6, 0.9, 0.7, 0.7)
    assert key_number("m", item).outcome == "unclear"
    item["gains"] = {name: {"mean": 0.05, "low": 0.01, "high": 0.09} for name in item["baselines"]}
    number = key_number("m", item)
    assert (number.outcome, number.rival.difference, number.rival.low) == ("better", "+0.05", "+0.01")


def test_an_infinite_baseline_is_the_better_one(evaluations):
    number = key_number("psnr", evaluations.metric(20.0, 19.0, 21.0, math.inf, 15.0))
    assert (number.outcome, number.rival.name, number.rival.mean, number.mean) == ("worse", "source", "∞", "20.0")


def test_log_keeps_finite_numbers_and_each_stage_once(evaluations):
    events = [*evaluations.log_lines(), {"event": "stage_started", "step": 450, "stage": "main", "stage_step": 150}]
    log = read_log(lines(events))
    assert [start for _, start in log.stages] == [0, 300]
    assert len(log.curves["term/l1"]) == 599
    assert log.curves["val/ssim"] == [(600, 0.7)]
    assert log.last_step == 600
