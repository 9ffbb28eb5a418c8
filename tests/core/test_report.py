"""The report: everything of a run on one page that asks for nothing else, whatever is missing or hostile."""

from __future__ import annotations

import json
import math
import re
from html.parser import HTMLParser

import pandas as pd
import pytest
from PIL import Image

from enface.errors import EnfaceError
from enface.report import write_report
from enface.report_curves import read_log
from enface.report_numbers import MINUS, NONE, Sense, decimals, key_numbers, shown, spread, stage_table

HOSTILE = "<script>alert('x')</script>"


def metric(mean, low, high, source, mean_target, *, higher=True):
    return {
        "mean": mean,
        "low": low,
        "high": high,
        "baselines": {"source": source, "mean_target": mean_target},
        "higher_is_better": higher,
        "card": {"implementation": "made up", "weights": HOSTILE},
    }


def summary():
    metrics = {
        "ssim": metric(0.8123, 0.80, 0.83, 0.5, 0.7),
        "lpips": metric(0.31, 0.30, 0.32, 0.4, 0.28, higher=False),
        "psnr": metric(21.5, 21.0, 22.0, 12.0, 21.7),
    }
    by_pose = {
        pose: {
            "images": 5,
            "metrics": {name: {"mean": 0.9, "baselines": item["baselines"]} for name, item in metrics.items()},
        }
        for pose in ("-15", "-90", "0", "90")
    }
    return {
        "metrics": metrics,
        "unavailable": {"identity": f"weights are missing {HOSTILE}"},
        "by": {"pose": by_pose},
        "images": 20,
        "identities": 4,
        "interval": "95% bootstrap over identities",
        "split": "test",
        "step": 12000,
    }


def log_lines():
    yield {"event": "stage_started", "step": 0, "stage": f"warm {HOSTILE} $x^", "stage_step": 0}
    for step in range(1, 600):
        values = {
            "term/l1": 1 / step,
            "weighted/l1": 10 / step,
            "lr/generator": 1e-4,
            "images_per_second": 50.0,
        }
        yield {"event": "step", "step": step, "stage": "warm", "values": values}
    yield {"event": "stage_started", "step": 300, "stage": "main", "stage_step": 0}
    yield {"event": "step", "step": 600, "stage": "main", "values": {"term/l1": math.nan, "term/gan": -0.5}}
    yield {"event": "validated", "step": 600, "values": {"ssim": 0.7}}


def make_run(directory, events):
    for name in ("samples", "evaluation"):
        (directory / name).mkdir(parents=True)
    (directory / "recipe.yaml").write_text(f"name: tiny\nnote: {json.dumps(HOSTILE)}\nurl: https://example.org\n")
    about = {"device": HOSTILE, "packages": {"torch": "2", "kornia": None}, "pack": {"skipped": ["a"]}}
    (directory / "environment.json").write_text(json.dumps(about))
    # The last line is one that a run was writing when it was cut off.
    lines = [*(json.dumps(event) for event in events), '{"event": "st']
    (directory / "log.jsonl").write_text("\n".join(lines))
    (directory / "evaluation" / "summary.json").write_text(json.dumps(summary()))
    (directory / "evaluation" / "images.csv").write_text(
        f"key,identity,ssim\n001.png,001,0.9\n{HOSTILE},002,0.1\n003.png,003,0.8\n"
    )
    Image.new("RGB", (12, 8)).save(directory / "evaluation" / "grid.png")
    for step in range(0, 50, 10):
        for kind in ("inputs", "outputs", "targets"):
            Image.new("RGB", (6, 4)).save(directory / "samples" / f"{step:08d}-{kind}.png")
    return directory


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    """The page of a whole run."""
    return page(make_run(tmp_path_factory.mktemp("whole") / "20260101-000000", log_lines()))


@pytest.fixture
def run(tmp_path):
    """A run to take pieces from; one curve only, for drawing is what takes time."""
    event = {"event": "validated", "step": 1, "values": {"ssim": 0.7}}
    directory = make_run(tmp_path / "run", [event])
    path = directory / "evaluation" / "summary.json"
    path.write_text(json.dumps({**summary(), "by": {}}))
    return directory


def page(directory):
    return write_report(directory).read_text(encoding="utf-8")


class Outline(HTMLParser):
    """Tags, their attributes, and whether all that opens closes."""

    VOID = frozenset(("meta", "img", "br", "path", "use", "rect"))

    def __init__(self, text):
        super().__init__()
        self.tags, self.open = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag


def test_page_holds_the_whole_run(text):
    for part in (
        "<h1>tiny</h1>",
        "20260101-000000",
        "0.8123",
        "[0.8000, 0.8300]",
        "1 unreadable image was",
        f"{MINUS}90",
    ):
        assert part in text
    for heading in (
        "Key numbers",
        "Not measured",
        "By pose",
        "Over the images",
        "Terms",
        "Validation",
        "Recipe",
    ):
        assert heading in text
    assert "missing" not in re.sub(r"<style>.*?</style>|weights are missing", "", text, flags=re.S)


def test_html_is_well_formed_and_images_have_alternative_text(text):
    outline = Outline(text)
    assert outline.open == []
    images = [attributes for tag, attributes in outline.tags if tag == "img"]
    assert len(images) == 1 + 3 + 2
    assert all(image["alt"] and image["src"].startswith("data:image/png;base64,") for image in images)
    ids = [attributes["id"] for _, attributes in outline.tags if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_nothing_is_asked_of_a_network(text):
    outline = Outline(text)
    assert not {tag for tag, _ in outline.tags} & {"script", "link", "iframe", "object", "embed", "base"}
    for tag, attributes in outline.tags:
        for name in ("src", "href", "xlink:href", "srcset", "data", "poster"):
            value = attributes.get(name) or ""
            assert value.startswith(("data:", "#")) or not value, (tag, name, value)
    assert "@import" not in text
    assert not re.search(r"url\((?!#)", text)
    assert re.findall(r"https?://[^\s<]+", text) == ["https://example.org"]


def test_hostile_text_is_shown_as_text(text):
    assert "<script" not in text
    # Recipe, environment, three cards, a reason, a key, and the stage in the text and the drawings.
    assert text.count("&lt;script") >= 8


def test_verdict_names_better_worse_and_unclear(text):
    verdict = re.search(r'<p class="verdict">(.*?)</p>', text, re.S)[1]
    words = " ".join(re.sub(r"<[^>]+>", "", verdict).split())
    assert words == (
        "On 20 images of 4 identities, against the better baseline, the output is "
        "better on ssim (0.8123 [0.8000, 0.8300] against 0.7000); "
        "worse on lpips (0.3100 [0.3000, 0.3200] against 0.2800); "
        "and not clearly different on psnr (21.50 [21.00, 22.00] against 21.70)."
    )


def test_poses_are_in_the_order_of_numbers(text):
    table = re.search(r'aria-label="ssim by pose">(.*?)</table>', text, re.S)[1]
    assert re.findall(r"<tr><td>(.*?)</td>", table) == [f"{MINUS}90", f"{MINUS}15", "0", "90"]


def test_samples_are_first_middle_and_last(text):
    assert re.findall(r"Outputs at step (\d+)", text) == ["0", "20", "40"]


@pytest.mark.parametrize(
    ("gone", "said"),
    [
        ("evaluation/summary.json", "has not been evaluated"),
        ("evaluation/grid.png", "No picture of the evaluation"),
        ("evaluation/images.csv", "Key numbers"),
        ("log.jsonl", "Nothing has been logged yet"),
        ("recipe.yaml", "recipe.yaml is missing"),
        ("environment.json", "environment.json is missing"),
    ],
)
def test_a_missing_piece_is_said(run, gone, said):
    (run / gone).unlink()
    assert said in page(run)


@pytest.mark.parametrize(
    "name",
    ["evaluation/summary.json", "environment.json", "evaluation/grid.png", "samples/00000040-outputs.png"],
)
def test_a_damaged_piece_is_named(run, name):
    (run / name).write_bytes(b"\x00{")
    text = page(run)
    assert re.search(f'<p class="missing">{re.escape(name)} is ', text)


def test_an_empty_run_has_a_page(tmp_path):
    text = page(tmp_path)
    assert tmp_path.name in text
    assert "No sample grids" in text
    assert Outline(text).open == []


def test_evaluation_of_nothing_and_of_nan(run):
    path = run / "evaluation" / "summary.json"
    path.write_text(json.dumps({"metrics": {}, "unavailable": {"lpips": "no weights"}, "images": 3}))
    assert "has not been evaluated on any metric" in page(run)
    path.write_text(json.dumps({**summary(), "metrics": {"ssim": metric(*[math.nan] * 5)}}))
    assert "no number" in page(run)


def test_missing_directory_is_named(tmp_path):
    with pytest.raises(EnfaceError, match="nowhere does not exist"):
        write_report(tmp_path / "nowhere")


def test_writing_again_gives_the_same_page(run):
    assert page(run) == page(run)
    assert [path.name for path in (run / "report").iterdir()] == ["index.html"]


# ------------------------------------------------------------------ what each stage bought


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


def plain(markup):
    return " ".join(re.sub(r"<[^>]+>", " ", markup).split())


def test_each_stage_has_its_numbers_and_what_changed(run):
    write_stages(run, stages_measured())
    text = page(run)
    table = re.search(r'aria-label="What each stage bought">(.*?)</table>', text, re.S)[1]
    rows = re.findall(r"<tr>(.*?)</tr>", table, re.S)
    cells = [[plain(cell) for cell in re.findall(r"<t[hd].*?>(.*?)</t[hd]>", row, re.S)] for row in rows]
    assert cells[0][:3] == ["Stage", "Step", "Started from"]
    assert cells[1] == ["warm", "3,000", NONE, "0.8000", NONE, "0.2600", NONE, "21.70", NONE]
    assert cells[2] == [
        *("main", "12,000", "warm"),
        *("0.8123", "+0.0123 [0.0100, 0.0200]", "0.3100", "+0.0500 [0.0400, 0.0600]"),
        *("21.50", f"{MINUS}0.20 [{MINUS}0.50, 0.10]"),
    ]
    assert re.findall(rf'<span class="(\w+)">[+{MINUS}]', table) == ["good", "bad", "even"]


def test_each_stage_shows_the_same_faces(run):
    write_stages(run, stages_measured())
    outline = Outline(page(run))
    assert outline.open == []
    alts = [attributes["alt"] for tag, attributes in outline.tags if tag == "img"]
    assert [alt for alt in alts if "after stage" in alt] == [
        f"Sources, outputs and targets of test faces after stage {name}." for name in ("warm", "main")
    ]
    (run / "evaluation" / "stages" / "warm.png").unlink()
    (run / "evaluation" / "stages" / "main.png").write_bytes(b"no picture")
    text = page(run)
    assert "after stage" not in text
    assert "evaluation/stages/main.png is not an image that can be read" in text


def test_a_run_whose_stages_were_not_measured_says_nothing_of_them(run):
    assert "What each stage bought" not in page(run)


@pytest.mark.parametrize("content", ["{", "[]", '{"a": 3}', '{"a": {}}', '{"a": {"step": null, "metrics": []}}'])
def test_damaged_stages_leave_the_page_whole(run, content):
    (run / "evaluation" / "stages.json").write_text(content)
    text = page(run)
    assert "Key numbers" in text
    assert ("evaluation/stages.json is damaged" in text) == (content in ("{", "[]"))
    assert Outline(text).open == []


def test_a_change_is_good_or_bad_by_the_metrics_direction():
    stages = stages_measured()
    for higher in (True, False):
        cells = stage_table(stages, dict.fromkeys(("ssim", "lpips"), Sense(higher)))[1][3]
        assert [cell.outcome for cell in cells] == (["good", "good"] if higher else ["bad", "bad"])
    (cell,) = stage_table(stages, {"ssim": Sense(True)})[0][3]
    assert (cell.mean, cell.change, cell.outcome) == ("0.8000", "", "none")
    (cell,) = stage_table(stages, {"gone": Sense(True)})[0][3]
    assert cell.mean == NONE


# ------------------------------------------------------------------ numbers and log


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        ([0.81234, 0.5], ["0.8123", "0.5000"]),
        ([21.456, 3.1], ["21.46", "3.10"]),
        ([-0.0123456, 0.001], [f"{MINUS}0.01235", "0.00100"]),
        ([12345.6], ["12346"]),
        ([0.0], ["0.000"]),
        ([math.nan, 1.0], [NONE, "1.000"]),
    ],
)
def test_numbers_of_a_column_align(values, texts):
    assert [shown(value, decimals(values)) for value in values] == texts


@pytest.mark.parametrize(
    ("low", "high", "higher", "outcome"),
    [
        (0.8, 0.9, True, "good"),
        (0.5, 0.6, True, "bad"),
        (0.6, 0.8, True, "even"),
        (0.2, 0.4, False, "good"),
        (0.6, 0.7, False, "bad"),
    ],
)
def test_outcome_is_against_the_better_baseline(low, high, higher, outcome):
    found = key_numbers({"metrics": {"m": metric((low + high) / 2, low, high, 0.5, 0.7, higher=higher)}})[0]
    assert (found.outcome, found.rival) == (outcome, "mean_target" if higher else "source")


@pytest.mark.parametrize(
    ("low", "high", "outcome", "rival"),
    [
        # The baselines are 0.5 and 1.3: 0.3 too high is better than half too low.
        (0.8, 1.2, "good", "mean_target"),
        (0.4, 0.6, "bad", "mean_target"),
        (1.5, 1.7, "bad", "mean_target"),
        (0.6, 0.8, "even", "mean_target"),
        (0.75, 1.4, "even", "mean_target"),
    ],
)
def test_an_ideal_can_be_missed_on_both_sides(low, high, outcome, rival):
    item = metric((low + high) / 2, low, high, 0.5, 1.3) | {"ideal": 1.0}
    found = key_numbers({"metrics": {"sharpness": item}})[0]
    assert (found.outcome, found.rival, found.sense.arrow) == (outcome, rival, "→1")
    assert found.sense.words == "nearer to 1 is better"


def test_a_stage_that_overshoots_the_ideal_is_worse():
    def cell(mean: float, change: float) -> str:
        told = {"mean": change, "low": change - 0.01, "high": change + 0.01}
        stages = {"main": {"step": 1, "after": "first", "metrics": {"sharpness": {"mean": mean, "change": told}}}}
        return stage_table(stages, {"sharpness": Sense(True, 1.0)})[0][3][0].outcome

    assert cell(0.9, 0.3) == "good"
    assert cell(1.5, 0.4) == "bad"


def test_the_worst_image_is_the_farthest_from_the_ideal():
    images = pd.DataFrame({"key": ["a", "b", "c"], "sharpness": [0.9, 1.7, 0.5]})
    (found,) = spread(images, {"sharpness": Sense(True, 1.0)})
    assert (found["key"], found["worst"], found["median"], found["good"]) == ("b", "1.700", "0.500", "0.900")


def test_an_infinite_baseline_is_the_better_one():
    found = key_numbers({"metrics": {"psnr": metric(20.0, 19.0, 21.0, math.inf, 15.0)}})[0]
    assert (found.outcome, found.rival, found.against, found.mean) == ("bad", "source", "∞", "20.00")


def test_log_keeps_finite_numbers_and_each_stage_once():
    events = [*log_lines(), {"event": "stage_started", "step": 450, "stage": "main", "stage_step": 150}]
    log = read_log(events)
    assert [start for _, start in log.stages] == [0, 300]
    assert len(log.curves["term/l1"]) == 599
    assert log.curves["val/ssim"] == [(600, 0.7)]
    assert log.last_step == 600
