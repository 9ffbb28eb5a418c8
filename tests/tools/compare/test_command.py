"""``enface compare``: its output, its files, and its error messages."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from enface_tools.compare.command import folder_name

PEOPLE, EACH = 10, 6
DIRECTIONS = {"lpips": {}, "ssim": {"higher_is_better": True}, "sharpness": {"ideal": 1.0, "higher_is_better": True}}
SETS = {"fid": {"value": 12.5, "higher_is_better": False, "ideal": None, "card": {"network": "inception"}}}
RESULT = {
    *("images", "missing", "identities", "control_mean", "group_mean", "compared", "difference", "gain"),
    *("control_seed_sd", "group_seed_sd", "p", "p_adjusted", "detectable", "margin", "p_equivalent"),
    *("rank_biserial", "d_z", "outcome"),
}


def faces(shift=0.0, seed=0, **columns):
    rng = np.random.default_rng(seed)
    count = PEOPLE * EACH
    identity = [f"p{number // EACH}" for number in range(count)]
    numbers = {
        "lpips": 0.3 - shift + rng.normal(0, 0.01, count),
        "ssim": 0.7 + rng.normal(0, 0.01, count),
        "sharpness": 0.5 + shift + rng.normal(0, 0.01, count),
        "lpips@eyes": np.where(np.arange(count) % EACH, 0.3 - shift + rng.normal(0, 0.01, count), np.nan),
    }
    keys = {"key": [f"k{number}" for number in range(count)], "target_key": [f"t-{name}" for name in identity]}
    return {**keys, "identity": identity, "pose": np.resize([-15, 0, 15], count), **numbers, **columns}


@pytest.fixture
def runs(evaluated, tmp_path, monkeypatch):
    """``runs/a`` and ``runs/b``, three seeds each, in the current folder."""
    monkeypatch.chdir(tmp_path)
    for seed in (0, 1, 2):
        evaluated(f"runs/a/{seed}", faces(0, seed), name="a", seed=seed, directions=DIRECTIONS, summary={"sets": SETS})
        evaluated(
            f"runs/b/{seed}",
            faces(0.1, seed + 5),
            name="b",
            seed=seed,
            directions=DIRECTIONS,
            stage={"terms": {"l1": {"weight": 2}}},
            summary={"sets": SETS, "caveats": ["lpips looks through alexnet."]},
        )
    return Path("runs/a"), Path("runs/b")


def read(folder):
    return json.loads((Path(folder) / "comparison.json").read_text(encoding="utf-8"))


def test_in_the_terminal(enface, runs):
    outcome = enface("compare", *runs, "--by", "pose")
    assert outcome.code == 0, outcome.err
    lines = outcome.out.splitlines()
    assert "control a: 3 runs, seeds 0, 1, 2" in lines
    assert "b against a: 60 images of 10 people" in lines
    assert "  stages.main.terms.l1.weight: 1.0 -> 2.0" in lines
    assert [line for line in lines if re.match(r"  lpips by seed: (0\.\d{4}, ){2}0\.\d{4} \(sd 0\.\d{4}\)", line)]
    spread = r"; sd over seeds: 0\.\d+ \(control\), 0\.\d+"
    assert [line for line in lines if re.fullmatch(rf"better on lpips by 0\.\d+ \[0\.\d+, 0\.\d+\]{spread}", line)]
    unclear = r"no clear difference on ssim \([+-]0\.\d+ \[-0\.\d+, \+0\.\d+\]; would detect 0\.\d+\)"
    assert [line for line in lines if re.fullmatch(unclear + spread, line)]
    assert [line for line in lines if line.startswith("better on sharpness, nearer to 1 by 0.10")]
    assert [line for line in lines if re.match(r"fid +lower +12\.5 +12\.5$", line)]
    assert [line for line in lines if re.match(r"-15 +20 .*better", line)]
    assert "note: b: lpips looks through alexnet." in lines
    assert lines[-1] == "comparison: comparisons/a-vs-b/index.html"
    assert "better on lpips" in Path("comparisons/a-vs-b/index.html").read_text(encoding="utf-8")


def test_many_metrics_by_a_label_are_several_tables(enface, evaluated, tmp_path):
    names = [f"metric_{number}" for number in range(11)]
    columns = faces(**{name: faces(0, place)["lpips"] for place, name in enumerate(names)})
    runs = [evaluated(name, columns, name=name, directions={name: {} for name in names}) for name in "ab"]
    outcome = enface("compare", *runs, "--by", "pose", "--out", tmp_path / "out")
    heads = [line.split()[2:] for line in outcome.out.splitlines() if line.startswith("pose")]
    assert len(heads) > 1
    assert [name for head in heads for name in head] == names
    assert max(map(len, outcome.out.splitlines())) <= 200


def test_the_files_hold_what_a_page_needs(enface, runs):
    outcome = enface("compare", *runs, "--by", "pose", "--regions", "--out", "out")
    assert outcome.code == 0, outcome.err
    comparison = read("out")
    assert set(comparison) == {
        *("format", "confidence", "alpha", "power", "groups", "tests", "sets", "by_columns", "comparisons"),
        "caveats",
    }
    assert list(comparison["tests"]) == ["lpips", "ssim", "sharpness", "lpips@eyes"]
    assert comparison["tests"]["lpips@eyes"] == {
        **{"metric": "lpips", "region": "eyes", "higher_is_better": False, "ideal": None},
        **{"direction": "lower is better", "card": {"implementation": "toy", "version": "1"}},
    }
    control, group = comparison["groups"]
    assert (control["name"], control["seeds"], control["changes"]) == ("a", [0, 1, 2], [])
    assert group["changes"] == [{"key": "stages.main.terms.l1.weight", "from": 1.0, "to": 2.0, "training": True}]
    assert group["caveats"] == ["lpips looks through alexnet."]
    assert set(group["means"]["lpips"]) == {"mean", "low", "high", "images", "by_seed", "seed_sd"}
    assert group["sets"]["fid"] == {"mean": 12.5, "by_seed": {"0": 12.5, "1": 12.5, "2": 12.5}, "seed_sd": 0.0}
    run = group["runs"][1]
    assert (run["directory"], run["evaluation"]) == ("../runs/b/1", "../runs/b/1/evaluation/val")
    assert (run["seed"], run["split"], run["pictures"], run["report"]) == (1, "val", False, None)
    (pair,) = comparison["comparisons"]
    assert (pair["design"], pair["about"]) == ("crossed", "")
    assert pair["seeds"] == {"control": [0, 1, 2], "group": [0, 1, 2]}
    assert (pair["group"], pair["images"]["common"], pair["identities"]) == (1, 60, 10)
    assert (comparison["format"], comparison["power"]) == (2, 0.8)
    assert all(set(result) == RESULT for result in pair["results"].values())
    lpips = pair["results"]["lpips"]
    assert lpips["margin"] is lpips["p_equivalent"] is None
    sds = [
        np.std([faces(shift, first + seed)["lpips"].mean() for seed in range(3)], ddof=1)
        for shift, first in ((0, 0), (0.1, 5))
    ]
    assert [lpips["control_seed_sd"], lpips["group_seed_sd"]] == pytest.approx(sds)
    assert pair["results"]["sharpness"]["compared"] == "distance"
    assert (pair["results"]["lpips@eyes"]["images"], pair["results"]["lpips@eyes"]["missing"]) == (50, 10)
    assert [(item["column"], item["value"], item["images"]) for item in pair["by"]] == [
        *(("pose", "-15", 20), ("pose", "0", 20), ("pose", "15", 20))
    ]
    inside = pair["by"][0]["results"]["lpips"]
    assert set(inside) == RESULT
    assert inside["d_z"] is inside["rank_biserial"] is None
    assert [(item["test"], item["outcome"]) for item in pair["verdicts"]] == [
        *(("lpips", "better"), ("ssim", "unclear"), ("sharpness", "better"), ("lpips@eyes", "better"))
    ]
    table = pd.read_csv("out/table.csv").set_index("test")
    for name, result in pair["results"].items():
        assert table.loc[name, "difference"] == pytest.approx(result["difference"]["mean"])
        assert table.loc[name, "p_adjusted"] == pytest.approx(result["p_adjusted"])
        assert table.loc[name, "outcome"] == result["outcome"]
        assert table.loc[name, "detectable"] == pytest.approx(result["detectable"])
        assert table.loc[name, "group_seed_sd"] == pytest.approx(result["group_seed_sd"])
    by = pd.read_csv("out/by.csv")
    assert len(by) == 3 * 4
    assert "d_z" not in by


def test_each_image_and_its_row_in_the_pictures(enface, runs, evaluated):
    shuffled = pd.DataFrame(faces(0.1, 3)).iloc[::-1].iloc[10:]
    other = evaluated("runs/c/0", shuffled, name="c", seed=0, directions=DIRECTIONS)
    outcome = enface("compare", "runs/a/0", other, "--out", "out")
    assert outcome.code == 0, outcome.err
    images = pd.read_csv("out/images-1.csv").set_index("key")
    assert len(images) == 50
    assert list(images.columns[:6]) == ["target_key", "identity", "pose", "seeds", "control_row", "group_row"]
    assert (images.loc["k3", "control_row"], images.loc["k3", "group_row"]) == (3, 60 - 1 - 3 - 10)
    a, c = (frame.set_index("key").loc["k3"] for frame in (pd.DataFrame(faces(0, 0)), shuffled))
    assert images.loc["k3", "lpips.difference"] == pytest.approx(c["lpips"] - a["lpips"])
    assert images.loc["k3", "lpips.gain"] == pytest.approx(a["lpips"] - c["lpips"])
    assert images.loc["k3", "sharpness.group"] == pytest.approx(c["sharpness"])
    assert images.loc["k3", "sharpness.gain"] == pytest.approx(abs(a["sharpness"] - 1) - abs(c["sharpness"] - 1))


def test_as_json(enface, runs):
    outcome = enface("compare", *runs, "--json", "--metrics", "ssim,lpips")
    assert outcome.code == 0, outcome.err
    assert json.loads(outcome.out) == read("comparisons/a-vs-b")
    assert list(read("comparisons/a-vs-b")["tests"]) == ["lpips", "ssim"]


def test_margins_test_equivalence(enface, runs):
    margins = ("--margin", "ssim=0.05, lpips=0.5", "--margin", "sharpness=0.001")
    outcome = enface("compare", *runs, *margins, "--by", "pose", "--out", "out")
    assert outcome.code == 0, outcome.err
    (pair,) = read("out")["comparisons"]
    results = pair["results"]
    assert {name: result["margin"] for name, result in results.items()} == {
        "lpips": 0.5,
        "ssim": 0.05,
        "sharpness": 0.001,
    }
    outcomes = {name: result["outcome"] for name, result in results.items()}
    assert outcomes == {"lpips": "better", "ssim": "equivalent", "sharpness": "better"}
    assert results["ssim"]["p_equivalent"] < 0.001 < 0.9 < results["sharpness"]["p_equivalent"]
    assert {subset["results"]["ssim"]["outcome"] for subset in pair["by"]} == {"equivalent"}
    lines = outcome.out.splitlines()
    assert [line for line in lines if line.startswith("equivalent on ssim within 0.05 (")]
    assert [
        line for line in lines if line.startswith("better on lpips by 0.10") and ", within the margin of 0.5; " in line
    ]
    page = Path("out/index.html").read_text(encoding="utf-8")
    assert "= equivalent" in page
    assert pd.read_csv("out/table.csv").set_index("test").loc["ssim", "margin"] == 0.05


@pytest.mark.parametrize(("width", "heads"), [(200, 9), (80, 7), (62, 5)])
def test_a_narrow_terminal_has_fewer_columns_and_no_folded_words(enface, runs, monkeypatch, width, heads):
    for name, value in {"FORCE_COLOR": "1", "NO_COLOR": "1", "TERM": "xterm", "COLUMNS": str(width)}.items():
        monkeypatch.setenv(name, value)
    outcome = enface("compare", *runs)
    lines = outcome.out.splitlines()
    start = next(place for place, line in enumerate(lines) if line.startswith("metric"))
    table = lines[start : start + 4]
    assert [line.split()[0] for line in table] == ["metric", "lpips", "ssim", "sharpness"]
    assert max(map(len, table)) <= width
    assert len(re.split(r"\s{2,}", table[1].strip())) == heads


def test_a_repeated_comparison_is_equal_and_removes_old_files(enface, runs, evaluated):
    third = evaluated("runs/c/0", faces(0.2, 9), name="c", directions=DIRECTIONS)
    assert enface("compare", *runs, third, "--by", "pose", "--out", "out").code == 0
    assert {path.name for path in Path("out").glob("*.csv")} == {"table.csv", "by.csv", "images-1.csv", "images-2.csv"}
    assert "2 groups are compared with a" in read("out")["caveats"][0]
    for _ in range(2):
        assert enface("compare", *runs, "--out", "out").code == 0
        assert {path.name for path in Path("out").glob("*.csv")} == {"table.csv", "images-1.csv"}
        text = Path("out/comparison.json").read_text()
    assert enface("compare", *runs, "--out", "other").code == 0
    assert Path("other/comparison.json").read_text() == text


def test_a_folder_with_other_files_is_refused(enface, runs):
    Path("out").mkdir()
    Path("out/thesis.txt").write_text("years of work")
    outcome = enface("compare", *runs, "--out", "out")
    assert outcome.code == 2
    assert "out holds other files; choose another folder with --out" in outcome.err
    outcome = enface("compare", *runs, "--out", "out/thesis.txt")
    assert outcome.code == 2
    assert "cannot be written" in outcome.err


HOSTILE = [
    *("<script>alert(1)</script>", "[red]x[/red]", 'a"\u2028;b,c', "\x1b[2J\x07"),
    *("../../x", "=1+1", "é" * 300, "naïve"),
]


def test_hostile_names_stay_text(enface, runs, evaluated):
    keys = [*HOSTILE, *faces()["key"][len(HOSTILE) :]]
    people = [HOSTILE[number // EACH % len(HOSTILE)] for number in range(PEOPLE * EACH)]
    columns = {**faces(0.1, 2), "key": keys, "identity": people, "pose": np.resize(HOSTILE, PEOPLE * EACH)}
    first = evaluated("x/[b]\x1b[31m", columns, name=None, directions=DIRECTIONS)
    second = evaluated("y/<b>", {**columns, **{"lpips": faces()["lpips"]}}, name=None, directions=DIRECTIONS)
    outcome = enface("compare", first, second, "--by", "pose", "--out", "out")
    assert outcome.code == 0, outcome.err
    assert "\x1b" not in outcome.out
    assert "\\x1b[2J\\x07" in outcome.out
    assert "[red]x[/red]" in outcome.out
    comparison = read("out")
    assert comparison["groups"][0]["name"] == "[b]\x1b[31m"
    assert {item["value"] for item in comparison["comparisons"][0]["by"]} == set(HOSTILE)
    images = pd.read_csv("out/images-1.csv")
    assert list(images["key"][: len(HOSTILE)]) == HOSTILE
    assert set(images["identity"]) == set(HOSTILE)


def test_the_default_folder_has_a_safe_name():
    assert folder_name(["a", "b"]) == "a-vs-b"
    assert folder_name(["../../etc", "[b]\x1b/x y"]) == "etc-vs-b-x-y"
    assert folder_name(["...", "é"]) == "group-vs-group"
    assert folder_name(["a", *"bcdef"]) == "a-vs-b-c-and-3-more"
    assert len(folder_name(["x" * 500] * 9)) < 250


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["runs/a"], r"one recipe \(seeds 0, 1, 2\)"),
        (["runs/a", "runs/none"], r"runs/none is no path"),
        (["runs/a", "runs"], r"runs is neither a run directory \(recipe.yaml\) nor a folder of runs"),
        (["runs/a", "runs/b", "--by", "smile"], r"no label 'smile'; they have: pose"),
        (["runs/a", "runs/b", "--metrics", "ssmi"], r"'ssmi' was not measured; did you mean 'ssim'"),
        (["runs/a", "runs/b", "--control", "none"], r"none is no path, and no run below runs has this name"),
        (["runs/a", "runs/b", "--margin", "lpips"], r"--margin: 'lpips' is not METRIC=X, as in lpips=0\.01"),
        (["runs/a", "runs/b", "--margin", "=0.1"], r"--margin: '=0\.1' is not METRIC=X"),
        (["runs/a", "runs/b", "--margin", "lpips=small"], r"--margin: 'small' is not a number; write lpips=0\.01"),
        (["runs/a", "runs/b", "--margin", "lpips=0"], r"--margin: lpips=0 is not a positive number"),
        (["runs/a", "runs/b", "--margin", "lpips=-1"], r"--margin: lpips=-1 is not a positive number"),
        (["runs/a", "runs/b", "--margin", "lpips=nan"], r"--margin: lpips=nan is not a positive number"),
        (["runs/a", "runs/b", "--margin", "lpips=1,lpips=2"], r"--margin: lpips is listed twice"),
        (["runs/a", "runs/b", "--margin", "lpisp=1"], r"--margin: 'lpisp' is not compared; did you mean 'lpips'"),
    ],
)
def test_mistakes_are_reported(enface, runs, arguments, message):
    outcome = enface("compare", *arguments)
    assert outcome.code == 2
    assert re.search(message, outcome.err), outcome.err
    assert not Path("comparisons").exists()


@pytest.mark.parametrize("content", ["{", "[]", '{"format": 1}'])
def test_a_damaged_summary_is_named(enface, runs, content):
    path = Path("runs/b/1/evaluation/val/summary.json")
    path.write_text(content)
    outcome = enface("compare", *runs)
    assert outcome.code == 2
    assert str(path) in outcome.err


def test_a_damaged_table_is_named(enface, runs):
    path = Path("runs/b/1/evaluation/val/images.csv")
    path.write_text("lpips\n1\n")
    outcome = enface("compare", *runs)
    assert outcome.code == 2
    assert str(path) in outcome.err


def test_runs_that_enface_made(enface, recipe, tmp_path, monkeypatch):
    """Two whole runs of a recipe, trained differently."""
    monkeypatch.chdir(tmp_path)
    base = {"data": {"split": {"train": 2, "val": 1, "test": 3}}, "metrics": ["mae", "psnr"], "log": {"observers": []}}
    stage = {"steps": 2, "batch": 2, "terms": {"l1": {"weight": 2}}}
    for name, keys in (("one", {}), ("two", {"stages": {"main": stage}})):
        outcome = enface("run", recipe({"name": name, **base, **keys}), "--runs", "made")
        assert outcome.code == 0, outcome.err
    outcome = enface("compare", "made/one", "made/two", "--by", "pose,light", "--out", "made/out")
    assert outcome.code == 0, outcome.err
    comparison = read("made/out")
    assert list(comparison["tests"]) == ["mae", "psnr"]
    keys = [item["key"] for item in comparison["groups"][1]["changes"]]
    assert keys == ["stages.main.steps", "stages.main.batch", "stages.main.terms.l1.weight"]
    assert comparison["groups"][0]["runs"][0]["pictures"] is True
    assert [text for text in comparison["comparisons"][0]["caveats"] if text.startswith("Fewer than 5 people")]
