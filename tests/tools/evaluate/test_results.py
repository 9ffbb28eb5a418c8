"""Files of an evaluation: writing them and reading them back."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from scipy import stats

from enface.errors import DataError
from enface_tools.evaluate.grid import grid, to_pixels
from enface_tools.evaluate.metrics import Metric
from enface_tools.evaluate.pictures import MAX_LARGE, ROWS, TILE, PictureWriter, error_map
from enface_tools.evaluate.results import Results, Scores, write_results
from enface_tools.evaluate.summary import Summarizer


class Plain(Metric):
    higher_is_better = False
    card = {"implementation": "enface"}  # noqa: RUF012


ABOUT = pd.DataFrame(
    {
        "key": ["a", "b", "c", "d"],
        "target_key": ["t"] * 4,
        "identity": ["007", "007", "NA", "NA"],
        "pose": [-15, 0, -15, 0],
        "light": [1, 1, 2, 2],
        "same": [1, 1, 1, 1],
    }
)
OUTPUT = Scores(pd.DataFrame({"mae": [0.1, 0.2, 0.3, 0.6], "mae@eyes": [np.nan, 0.4, np.nan, 0.2]}), {})
SOURCE = Scores(pd.DataFrame({"mae": [0.2, 0.2, 0.5, 0.5], "mae@eyes": [np.nan, 0.5, np.nan, 0.5]}), {})


def summarize(scores=OUTPUT, baselines=None, about=ABOUT, networks=None):
    return Summarizer(
        about,
        scores,
        {"source": SOURCE} if baselines is None else baselines,
        {"mae": Plain()},
        networks=networks or {},
    ).summary(kind="run", name="n", caveats=[])


# ------------------------------------------------------------------ the summary


def test_means_gains_regions_and_labels():
    summary = summarize(networks={"mae": ("eyes",)})
    item = summary.metrics["mae"]
    assert item.mean == pytest.approx(0.3)
    assert item.baselines == {"source": pytest.approx(0.35)}
    assert item.gains["source"].dump() == {"mean": pytest.approx(-0.05), "low": None, "high": None}
    assert summary.caveats == ["Fewer than 5 people have no intervals; evaluate on more people."]
    assert (item.networks, item.gallery, item.bounds) == (["eyes"], False, None)
    eyes = summary.regions["eyes"]
    assert eyes.images == 2
    assert eyes.metrics["mae"].mean == pytest.approx(0.3)
    assert eyes.metrics["mae"].baselines["source"] == pytest.approx(0.5)
    assert list(summary.by) == ["pose", "light"]
    left = summary.by["pose"]["-15"]
    assert (left.images, left.metrics["mae"].identities) == (2, 2)
    assert left.metrics["mae"].mean == pytest.approx(0.2)
    assert left.metrics["mae"].baselines == {"source": pytest.approx(0.35)}
    table = summary.by_two["pose x light"]
    assert (table.rows, table.columns) == (["-15", "0"], ["1", "2"])
    np.testing.assert_allclose(table.metrics["mae"], [[0.1, 0.3], [0.2, 0.6]])
    assert table.images["mae"] == table.identities["mae"] == [[1, 1], [1, 1]]
    assert table.distances == {}
    assert summary.identities == 2


class Ideal(Metric):
    higher_is_better = True
    ideal = 1.0
    bounds = (0.0, 2.0)
    card = {"implementation": "enface"}  # noqa: RUF012


def test_a_metric_with_an_ideal_is_compared_by_its_distances():
    """Five people whose values are 0.5 too low or too high: ideal on average, and farther than the source's 0.2."""
    about = pd.DataFrame({"key": list("abcdef"), "identity": list("pqrstt"), "pose": [0, 0, 0, 15, 15, 15]})
    output = Scores(pd.DataFrame({"m": [0.5, 1.5, 0.5, 1.5, 1.5, 0.5]}), {})
    source = Scores(pd.DataFrame({"m": [0.8, 0.8, 1.2, 0.8, 0.8, 0.8]}), {})
    summary = Summarizer(about, output, {"source": source}, {"m": Ideal()}, networks={}).summary(
        kind="run", name="n", caveats=[]
    )
    item = summary.metrics["m"]
    assert (item.mean, item.identities, item.images) == (1.0, 5, 6)
    assert item.baselines["source"] == pytest.approx(5.2 / 6)
    assert item.distances == {"output": 0.5, "source": pytest.approx(0.2)}
    assert item.compared() == 0.5
    assert item.compared("source") == pytest.approx(0.2)
    # Every person is farther by 0.3, so the interval has no width.
    assert [item.gains["source"].mean, item.gains["source"].low, item.gains["source"].high] == pytest.approx([0.3] * 3)
    # By hand: p, q, r, s deviate by -+0.5, t by 0 in twice as many images as one; the mean size is 6 / 5.
    people = 1 + np.array([-0.5, 0.5, -0.5, 0.5, 0.0]) / 1.2
    reach = stats.t.ppf(0.975, 4) * people.std(ddof=1) / np.sqrt(5)
    assert (item.low, item.high) == pytest.approx((1 - reach, 1 + reach))
    assert summary.by["pose"]["0"].metrics["m"].distances["output"] == 0.5
    assert summary.by["pose"]["0"].metrics["m"].low is None, "three people have no interval"
    assert summary.caveats == []


def test_a_table_by_two_labels_counts_images_with_a_number_and_their_people():
    people = ["p", "p", "q", "r", "r", "r", "p"]
    about = pd.DataFrame({"key": list("abcdefg"), "identity": people, "pose": [0] * 5 + [15] * 2})
    about["light"] = [1, 1, 1, 1, 2, 2, 2]
    output = Scores(pd.DataFrame({"m": [0.5, 1.5, 1.0, np.nan, 1.2, 0.7, 1.3]}), {})
    summary = Summarizer(about, output, {}, {"m": Ideal()}, networks={}).summary(kind="run", name="n", caveats=[])
    table = summary.by_two["pose x light"]
    # Pose 0 under light 1: p twice, q, and r without a number. Pose 15 under light 1: no image.
    assert table.images["m"] == [[3, 1], [0, 2]]
    assert table.identities["m"] == [[2, 1], [0, 2]]
    assert table.metrics["m"] == [[1.0, 1.2], [None, 1.0]]
    assert [table.distances["m"][0][0], table.distances["m"][1]] == [pytest.approx(1 / 3), [None, pytest.approx(0.3)]]


def test_an_interval_stays_within_the_bounds_of_its_metric():
    about = pd.DataFrame({"key": list("abcde"), "identity": list("pqrst")})
    output = Scores(pd.DataFrame({"m": [2.0, 2.0, 2.0, 2.0, 0.5]}), {})
    item = (
        Summarizer(about, output, {}, {"m": Ideal()}, networks={})
        .summary(kind="run", name="n", caveats=[])
        .metrics["m"]
    )
    assert item.high == 2.0
    assert item.low < 1.7


def test_a_number_that_is_none_is_null():
    summary = summarize(Scores(pd.DataFrame({"mae": [np.nan] * 4}), {}), {})
    assert summary.metrics["mae"].mean is None
    assert summary.by["pose"]["0"].metrics["mae"].mean is None
    json.dumps(summary.dump(), allow_nan=False)


# ------------------------------------------------------------------ the files


def written(folder):
    write_results(folder, ABOUT, OUTPUT, {"source": SOURCE}, summarize())
    return folder


def test_what_is_written_is_read_again(tmp_path):
    (tmp_path / "run").mkdir()
    written(tmp_path / "run" / "evaluation")
    for path in (tmp_path / "run", tmp_path / "run" / "evaluation"):
        results = Results.read(path)
        assert results.images["identity"].tolist() == ["007", "007", "NA", "NA"]
        pd.testing.assert_frame_equal(results.numbers, OUTPUT.images)
        assert list(results.about.columns) == list(ABOUT.columns)
        assert list(results.baselines) == ["source"]
        assert results.summary.kind == "run"


def test_an_earlier_baseline_does_not_stay(tmp_path):
    written(tmp_path)
    write_results(tmp_path, ABOUT, OUTPUT, {}, summarize())
    assert Results.read(tmp_path).baselines == {}


def change(folder, key, value):
    summary = json.loads((folder / "summary.json").read_text())
    (folder / "summary.json").write_text(json.dumps({**summary, key: value}))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda folder: (folder / "summary.json").unlink(), "holds no evaluation"),
        (lambda folder: (folder / "summary.json").write_text("{"), r"summary\.json is damaged"),
        (lambda folder: (folder / "summary.json").write_text('{"format": 1}'), "another version"),
        (lambda folder: change(folder, "split", 3), r"summary\.json is damaged \(split: .*\); evaluate again"),
        (
            lambda folder: change(
                folder, "by_two", {"a x b": {"rows": ["0"], "columns": ["1"], "metrics": {"mae": []}}}
            ),
            r"by_two\.a x b: mae is not a table of 1 x 1",
        ),
        (lambda folder: change(folder, "metrics", {"mae": {}}), r"metrics\.mae\.mean: Field required"),
        (lambda folder: (folder / "images.csv").write_text(""), r"images\.csv cannot be read"),
        (lambda folder: (folder / "images.csv").write_text("key,mae\na,1\n"), "no column 'identity'"),
        (lambda folder: (folder / "source.csv").write_bytes(b"\xff\xfe\x00"), r"source\.csv cannot be read"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path, spoil, message):
    spoil(written(tmp_path))
    with pytest.raises(DataError, match=message):
        Results.read(tmp_path)


# ------------------------------------------------------------------ the pictures


def shades(count, size, start=0.0):
    values = start + torch.arange(count) / (2 * count)
    return values[:, None, None, None].expand(-1, 3, size, size)


def test_every_image_has_its_row_of_tiles(tmp_path):
    count = ROWS + 3
    writer = PictureWriter(tmp_path, count)
    source, output, target = shades(count, 16), shades(count, 16, 0.25), shades(count, 16, 0.5)
    for first in range(0, count, 10):
        here = slice(first, first + 10)
        writer.add({"source": source[here], "output": output[here], "target": target[here]})
    writer.close()
    about = json.loads((tmp_path / "pictures.json").read_text())
    assert (about["tile"], about["images"], about["large"]["files"]) == (16, count, {})
    assert list(about["files"]) == ["source", "output", "target", "error"]
    for role, image in (("source", source), ("output", output), ("target", target)):
        first, last = (Image.open(tmp_path / "pictures" / name) for name in about["files"][role])
        assert (first.size, last.size) == ((16, 16 * ROWS), (16, 48))
        assert abs(int(np.asarray(last)[-8, 8, 0]) - 255 * float(image[-1, 0, 0, 0])) < 4


def test_large_images_shrink_and_some_stay_whole(tmp_path):
    size, count = TILE + 32, MAX_LARGE + 50
    writer = PictureWriter(tmp_path, count, sources=False)
    images = shades(count, size)
    writer.add({"output": images, "target": images})
    writer.close()
    about = json.loads((tmp_path / "pictures.json").read_text())
    assert (about["tile"], about["large"]["size"]) == (TILE, size)
    assert list(about["files"]) == ["output", "target", "error"]
    places = [int(place) for place in about["large"]["files"]]
    assert len(places) == MAX_LARGE
    assert (places[0], places[-1]) == (0, count - 1)
    assert Image.open(tmp_path / "pictures" / about["large"]["files"]["0"]).size == (3 * size, size)


def test_a_grid_has_gaps_and_a_border_and_fills_a_short_row():
    white = np.full((2, 3, 3), 255, np.uint8)
    picture = grid([[white, white], [white]], gap=1, border=2)
    assert picture.shape == (2 + 2 + 1 + 2 + 2, 2 + 3 + 1 + 3 + 2, 3)
    assert picture.sum() == 3 * white.sum()
    assert (picture[2:4, 2:5] == 255).all()
    assert not picture[5:7, 6:9].any()
    assert to_pixels(torch.tensor([0.0, 0.5, 1.0]).view(1, 3, 1, 1)).tolist() == [[[[0, 128, 255]]]]


def test_pictures_of_an_earlier_evaluation_are_gone(tmp_path):
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "999.webp").touch()
    writer = PictureWriter(tmp_path, 1)
    writer.add(dict.fromkeys(("source", "output", "target"), shades(1, 8)))
    writer.close()
    names = {path.name for path in (tmp_path / "pictures").iterdir()}
    assert names == {f"000-{role}.webp" for role in ("source", "output", "target", "error")}


def test_the_error_map_is_black_where_nothing_is_wrong():
    zero, one = torch.zeros(1, 3, 4, 4), torch.ones(1, 3, 4, 4)
    assert error_map(one, one).max() < 0.02
    brightness = [float(error_map(zero + error, zero).mean()) for error in (0.1, 0.25, 0.5)]
    assert brightness == sorted(brightness)
    torch.testing.assert_close(error_map(zero + 0.5, zero), error_map(one, zero))
