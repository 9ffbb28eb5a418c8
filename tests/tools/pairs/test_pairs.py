"""Images of another system: matched, checked, measured, and resumed after an interruption."""

from __future__ import annotations

import json
import os
import shutil
import unicodedata
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from enface.errors import DataError, EnfaceError, RecipeError
from enface_plugins.metrics.psnr import PSNR
from enface_tools.evaluate.results import Results, column_of
from enface_tools.pairs import shards
from enface_tools.pairs.evaluation import PairsEvaluation
from enface_tools.pairs.output import WORK
from enface_tools.pairs.recipe import PairsOptions

SIZE = 24
COUNT = 6
TOY = str(Path(__file__).parents[2] / "support" / "toy_faces.py")


def picture(seed: int, size: tuple[int, int] = (SIZE, SIZE)) -> Image.Image:
    """A smooth picture of this width and height."""
    small = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), np.uint8)
    return Image.fromarray(small).resize(size, Image.Resampling.BICUBIC)


def save(image: Image.Image, path: Path, **options: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **options)
    return path


@pytest.fixture
def folders(tmp_path: Path) -> dict[str, Path]:
    """Six outputs, targets and sources of the same names, all different."""
    for number, role in enumerate(("outputs", "targets", "sources")):
        for index in range(COUNT):
            save(picture(100 * number + index), tmp_path / role / f"{index}.png")
    return {role: tmp_path / role for role in ("outputs", "targets")}


@pytest.fixture
def evaluation(tmp_path):
    """An evaluation of folders, checked, with options by name."""

    def make(folders: dict[str, Path], *, out: Path | None = None, **options: object) -> PairsEvaluation:
        chosen = {"metrics": ["mae", "psnr"], "device": "cpu", **options}
        return PairsEvaluation(folders, tmp_path / "results" if out is None else out, PairsOptions(**chosen))

    return make


def pixels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path)).astype(np.float64) / 255


def refused(make, *texts: str, error: type[EnfaceError] = DataError) -> str:
    """The message of what is refused; it names all of these."""
    with pytest.raises(error) as raised:
        make()
    for text in texts:
        assert text in str(raised.value)
    return str(raised.value)


# ------------------------------------------------------------------ numbers


def test_numbers_agree_with_a_computation_by_hand(evaluation, folders, tmp_path):
    summary = evaluation(folders)()
    results = Results.read(tmp_path / "results")
    assert list(results.images["key"]) == [str(index) for index in range(COUNT)] == list(results.images["target_key"])
    for index, number in enumerate(results.images["mae"]):
        output, target = (pixels(folders[role] / f"{index}.png") for role in ("outputs", "targets"))
        assert number == pytest.approx(np.abs(output - target).mean(), rel=1e-5)
    assert summary.metrics["mae"].mean == pytest.approx(results.images["mae"].mean(), rel=1e-6)
    assert json.loads((tmp_path / "results" / "summary.json").read_text()) == {"format": 3, **summary.dump()}
    assert (summary.kind, summary.name, summary.images, summary.identities) == ("pairs", "results", 6, 6)
    assert not results.baselines
    assert not (tmp_path / "results" / WORK).exists()


def test_copying_the_source_is_the_baseline(evaluation, folders, tmp_path):
    summary = evaluation({**folders, "sources": tmp_path / "sources"})()
    results = Results.read(tmp_path / "results")
    source, target = pixels(tmp_path / "sources" / "3.png"), pixels(folders["targets"] / "3.png")
    assert results.baselines["source"]["mae"][3] == pytest.approx(np.abs(source - target).mean(), rel=1e-5)
    metric = summary.metrics["mae"]
    assert metric.gains["source"].mean == pytest.approx(metric.mean - metric.baselines["source"], abs=1e-6)
    about = json.loads((tmp_path / "results" / "pictures.json").read_text())
    assert list(about["files"]) == ["source", "output", "target", "error"]
    with Image.open(tmp_path / "results" / "pictures" / about["files"]["source"][0]) as sprite:
        assert sprite.size == (SIZE, COUNT * SIZE)


@pytest.fixture
def recogniser(tmp_path):
    """A recogniser of 32 px: mean colours of the four quarters."""

    class Quarters(torch.nn.Module):
        def forward(self, image):
            return torch.nn.functional.adaptive_avg_pool2d(image, 2).flatten(1)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.trace(Quarters(), torch.zeros(2, 3, 32, 32)).save(str(tmp_path / "recogniser.pt"))
    return {"recogniser": str(tmp_path / "recogniser.pt"), "size": 32}


def test_numbers_of_saved_outputs_are_those_of_their_run(load, tmp_path, recogniser, plugin):
    """By every metric that needs no download, for outputs and sources."""
    from enface.data.pairs import split_rows
    from enface.training.engine import Engine
    from enface.training.run import Run
    from enface_tools.evaluate.evaluator import Evaluator
    from enface_tools.packs.building import make_pack

    body = """
from enface import SetMetric
from enface_plugins.metrics import KID
class Discrepancy(SetMetric):
    '''KID's kernel on colours.'''
    higher_is_better = False
    card = {"implementation": "test"}
    def features(self, image): return torch.nn.functional.adaptive_avg_pool2d(image, 4).flatten(1)
    clustered_distance = KID.clustered_distance
"""
    plugins = [str(plugin(body, brings="Discrepancy"))]
    simple = ["mae", "psnr", "ssim", "ms_ssim", "sharpness", "spectrum", "checkerboard", "color_shift", "discrepancy"]
    metrics = {name: {} for name in simple}
    metrics |= {"identity": recogniser, "rank_1": recogniser, "tar": {"far": 0.1, **recogniser}}
    data = {"size": 32, "split": {"train": 2, "val": 1, "test": 3}}
    engine = {"device": "cpu", "precision": "fp32"}
    loaded = load({"engine": engine, "plugins": [TOY, *plugins], "data": data, "metrics": metrics})
    pack = make_pack(loaded.recipe, loaded.catalog)
    rows = split_rows(pack.table, loaded.recipe.data.split)
    evaluator = Evaluator(Run(tmp_path, loaded, Engine(loaded.recipe.engine), pack, rows))
    blurred = torch.nn.AvgPool2d(3, 1, 1, count_include_pad=False)
    wanted = {
        "output": evaluator.measure(lambda column: {"output": blurred(column("source"))}),
        "source": evaluator.measure(lambda column: {"output": column("source")}),
    }
    about = evaluator.about()
    table = pack.table.reset_index().set_index("key")["index"]
    for key, target in zip(about["key"], about["target_key"], strict=True):
        source = pack.images[table[key]]
        output = (blurred(torch.from_numpy(source.copy()).float()[None] / 127.5 - 1)[0] + 1) / 2 * 255
        pictures = {"outputs": (output + 0.5).floor().byte().numpy(), "sources": source}
        for role, image in {**pictures, "targets": pack.images[table[target]]}.items():
            save(Image.fromarray(np.ascontiguousarray(image.transpose(1, 2, 0))), tmp_path / role / f"{key}.png")
    about.drop(columns=["target_key"]).to_csv(tmp_path / "labels.csv", index=False)
    folders = {role: tmp_path / role for role in ("outputs", "targets", "sources")}
    overrides = [f"metrics.{name}.{key}={value}" for name, item in metrics.items() for key, value in item.items()]
    options = PairsOptions(
        metrics=list(metrics), labels=tmp_path / "labels.csv", device="cpu", overrides=overrides, plugins=plugins
    )
    summary = PairsEvaluation(folders, tmp_path / "r", options)()
    results = Results.read(tmp_path / "r")
    for name, images in {"output": results.images, "source": results.baselines["source"]}.items():
        order = images.set_index("key").loc[about["key"]].reset_index()
        for metric, column in wanted[name].images.items():
            here = order[column_of(order, metric)]
            # Convolutions and sums over a batch round differently with other images in it.
            np.testing.assert_allclose(here, column, rtol=1e-5, atol=1e-6, err_msg=f"{metric} of {name}")
    discrepancy = summary.sets["discrepancy"]
    assert discrepancy.value == pytest.approx(wanted["output"].sets["discrepancy"], rel=1e-6)
    assert discrepancy.baselines["source"] == pytest.approx(wanted["source"].sets["discrepancy"], rel=1e-6)
    assert np.isfinite(summary.metrics["tar"].mean)
    assert summary.metrics["mae"].card["rounding"] == "output and target to 8 bits"
    assert set(summary.by) == {"pose", "light"}
    assert list(summary.by["pose"]) == ["-30", "-15", "0", "15", "30"]


def test_repeated_images_have_caveats(evaluation, folders, tmp_path):
    for index in range(COUNT):
        save(picture(index // 3), folders["targets"] / f"{index}.png")
    caveats = evaluation({**folders, "sources": tmp_path / "sources"})().caveats
    repeated = "The targets are 2 different images, but count as 6 people, so intervals are too narrow; "
    assert f"{repeated}give --identity." in caveats


def test_outputs_whose_source_is_their_target_are_left_out(evaluation, folders, tmp_path):
    """By pixels: the source of 4 is its target, saved again as BMP."""
    (tmp_path / "sources" / "4.png").unlink()
    save(Image.open(folders["targets"] / "4.png"), tmp_path / "sources" / "4.bmp")
    roles = {**folders, "sources": tmp_path / "sources"}
    summary = evaluation(roles)()
    results = Results.read(tmp_path / "results")
    assert list(results.images["key"]) == list(results.baselines["source"]["key"]) == ["0", "1", "2", "3", "5"]
    assert (summary.images, summary.identities) == (5, 5)
    assert summary.self_pairs.dump() == {"count": 1, "measured": False}
    numbers = [np.abs(pixels(roles["sources"] / f"{n}.png") - pixels(roles["targets"] / f"{n}.png")) for n in "01235"]
    assert summary.metrics["mae"].baselines["source"] == pytest.approx(np.mean(numbers), rel=1e-5)
    index = json.loads((tmp_path / "results" / "pictures.json").read_text())
    assert index["images"] == 5
    with Image.open(tmp_path / "results" / "pictures" / index["files"]["target"][0]) as sprite:
        # The fifth tile is the target of image 5.
        tile = np.asarray(sprite.convert("RGB").crop((0, 4 * SIZE, SIZE, 5 * SIZE)), np.float64)
    assert np.abs(tile - 255 * pixels(roles["targets"] / "5.png")).mean() < 20
    assert np.abs(tile - 255 * pixels(roles["targets"] / "4.png")).mean() > 30
    whole = evaluation(roles, out=tmp_path / "whole", self_pairs=True)()
    assert (whole.images, whole.self_pairs.dump()) == (6, {"count": 1, "measured": True})
    assert whole.metrics["mae"].baselines["source"] == pytest.approx(np.mean(numbers) * 5 / 6, rel=1e-5)


def test_sources_that_are_all_targets_leave_nothing(evaluation, folders, tmp_path):
    copied = shutil.copytree(folders["targets"], tmp_path / "copied")
    with pytest.raises(DataError, match=r"every source is the target of its output.*--self-pairs"):
        evaluation({**folders, "sources": copied})()


def test_without_sources_nothing_is_known_of_self_pairs(evaluation, folders):
    assert evaluation(folders)().self_pairs is None


def test_default_metrics_are_measured_if_no_names_are_given(evaluation, folders, monkeypatch):
    monkeypatch.setattr(PSNR, "default", False)
    checked = evaluation(folders, metrics=None)
    assert {"mae", "ssim", "sharpness"} <= set(checked.metrics)
    assert "psnr" not in checked.metrics
    # LPIPS halves images of 24 px to nothing: a default metric is skipped, a named one is refused.
    assert "31 px" in checked.unavailable["lpips"]
    refused(lambda: evaluation(folders, metrics=["lpips"]), "metrics.lpips", "31 px", error=EnfaceError)


def test_a_metric_without_its_weights_is_unavailable_and_the_others_are_measured(evaluation, folders, plugin):
    body = (
        "from enface import WeightsError\nclass Absent(Metric):\n    '''Absent.'''\n    higher_is_better = True\n"
        "    def __init__(self):\n        raise WeightsError('fetch them with: enface weights fetch absent')\n"
    )
    plugins = [plugin(body, brings="Absent")]
    summary = evaluation(folders, metrics=["mae", "absent"], plugins=plugins)()
    assert list(summary.metrics) == ["mae"]
    assert summary.unavailable == {"absent": "fetch them with: enface weights fetch absent"}
    refused(
        lambda: evaluation(folders, metrics=["absent"], plugins=plugins),
        "no metric can be measured",
        error=EnfaceError,
    )


def test_parameters_of_metrics_are_set_as_in_a_recipe(evaluation, folders):
    overrides = ["metrics.coarse.use=ms_ssim", "metrics.coarse.scales=1"]
    checked = evaluation(folders, metrics=["mae"], overrides=overrides)
    assert list(checked.metrics) == ["mae", "coarse"]
    assert checked.metrics["coarse"].card["scales"] == "1"
    for overrides, text in {
        "metrics.ms_ssim.scale=1": "did you mean 'scales'?",
        "metrics.ms_ssim.scales=9": "less than or equal to 5",
        "metrics.ms_ssim=9": "metrics.ms_ssim: must be a map",
        "metrics.mae.mask=boundary": "no mask 'boundary'",
        "metrics.a b.use=mae": "string should match pattern",
        "metrics.mine.use=l11": "no metric is called 'l11'",
        "stages.main.steps=3": "there is no recipe here",
        "metrics": "there is no recipe here",
    }.items():
        refused(lambda o=overrides: evaluation(folders, overrides=[o]), text, error=RecipeError)
    refused(lambda: evaluation(folders, metrics=["ssimm"]), "did you mean 'ssim'?", error=RecipeError)


# ------------------------------------------------------------------ matching


def test_extensions_and_unicode_forms_do_not_matter_and_subfolders_do(evaluation, tmp_path):
    name = "b/Jos\N{LATIN SMALL LETTER E WITH ACUTE}"
    save(picture(0), tmp_path / "outputs" / "a" / "1.png")
    save(picture(1), tmp_path / "outputs" / f"{unicodedata.normalize('NFD', name)}.png")
    save(picture(2), tmp_path / "targets" / "a" / "1.bmp")
    save(picture(3), tmp_path / "targets" / f"{unicodedata.normalize('NFC', name)}.png")
    folders = {role: tmp_path / role for role in ("outputs", "targets")}
    assert list(evaluation(folders).about["key"]) == ["a/1", name]
    (tmp_path / "targets" / "a").rename(tmp_path / "targets" / "c")
    refused(lambda: evaluation(folders), "1 outputs without a target: a/1.png", "1 targets without an output: c/1.bmp")


def test_names_without_a_partner_are_listed(evaluation, tmp_path):
    for index in range(30):
        save(picture(index), tmp_path / "outputs" / f"{index}.png")
        save(picture(index), tmp_path / "targets" / f"{index + 12}.png")
    folders = {role: tmp_path / role for role in ("outputs", "targets")}
    first = ", ".join(f"{index}.png" for index in range(10))
    refused(
        lambda: evaluation(folders),
        f"12 outputs without a target: {first}, ... and 2 more",
        "12 targets without an output: 30.png, 31.png",
    )
    for index in range(12):
        (tmp_path / "outputs" / f"{index}.png").unlink()
    refused(lambda: evaluation(folders), "--subset skips the targets")
    summary = evaluation(folders, subset=True)()
    assert summary.images == 18
    assert summary.caveats == ["12 targets have no output and were skipped."]


def test_names_that_differ_in_case_are_reported(evaluation, folders):
    (folders["outputs"] / "0.png").rename(folders["outputs"] / "Anna.png")
    (folders["targets"] / "0.png").rename(folders["targets"] / "anna.png")
    refused(lambda: evaluation(folders), "Anna and anna differ in upper and lower case")


def test_two_files_of_one_name_are_refused(evaluation, folders):
    save(picture(0), folders["targets"] / "0.jpg")
    refused(lambda: evaluation(folders), "0.jpg and 0.png", "differ only in their extension")


def test_a_key_lets_outputs_share_a_target(evaluation, tmp_path):
    for person in range(2):
        save(picture(person), tmp_path / "targets" / f"person{person}_front.png")
        for view in range(3):
            save(picture(10 * person + view), tmp_path / "outputs" / f"person{person}_view{view}.png")
            save(picture(50 + 10 * person + view), tmp_path / "sources" / f"person{person}_view{view}.png")
    folders = {role: tmp_path / role for role in ("outputs", "targets", "sources")}
    refused(lambda: evaluation(folders), "give it as --key REGEX")
    checked = evaluation(folders, key=r"(person\d)_")
    assert list(checked.about["target_key"]) == ["person0_front"] * 3 + ["person1_front"] * 3
    # By default, images that share a target are of one person.
    assert checked().identities == 2
    frame = Results.read(tmp_path / "results").baselines["source"]
    source, target = pixels(tmp_path / "sources/person1_view2.png"), pixels(tmp_path / "targets/person1_front.png")
    assert frame.set_index("key")["mae"]["person1_view2"] == pytest.approx(np.abs(source - target).mean(), rel=1e-5)
    assert evaluation(folders, key=r"(person\d)_", identity=r"(view\d)").about["identity"].nunique() == 3
    # Sources with other names are matched by the key, too.
    shutil.rmtree(tmp_path / "sources")
    for person in range(2):
        save(picture(70 + person), tmp_path / "sources" / f"person{person}_side.png")
    evaluation(folders, key=r"(person\d)_")()
    frame = Results.read(tmp_path / "results").baselines["source"]
    source = pixels(tmp_path / "sources/person1_side.png")
    assert frame.set_index("key")["mae"]["person1_view0"] == pytest.approx(np.abs(source - target).mean(), rel=1e-5)
    save(picture(9), tmp_path / "targets" / "person0_side.png")
    refused(lambda: evaluation(folders, key=r"(person\d)_"), "person0_front.png and person0_side.png have one key")


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"key": "("}, "--key ( is not a regular expression"),
        ({"key": "a+"}, "--key a+ has no group"),
        ({"key": "(a+)"}, "--key (a+) matches nothing in 6 outputs: 0, 1, 2"),
        ({"identity": "x"}, "--identity x has no group"),
        ({"identity": "(9)|0"}, "--identity (9)|0 matches nothing in 6 outputs"),
    ],
)
def test_regular_expressions_that_match_nothing(evaluation, folders, options, text):
    refused(lambda: evaluation(folders, **options), text)


# ------------------------------------------------------------------ labels


def test_labels_are_columns_to_group_by(evaluation, folders, tmp_path):
    rows = [{"key": index, "identity": f"00{index % 2}", "pose": 30 * (index % 3), "hat": "NA"} for index in range(8)]
    # In another order than the images, and with further keys.
    pd.DataFrame(rows[::-1]).to_csv(tmp_path / "labels.csv", index=False)
    summary = evaluation(folders, labels=tmp_path / "labels.csv")()
    assert summary.identities == 2
    assert list(summary.by) == ["pose"]
    images = Results.read(tmp_path / "results").images
    assert list(images["identity"][:2]) == ["000", "001"]
    assert summary.by["pose"]["60"].metrics["mae"].mean == pytest.approx(images["mae"][[2, 5]].mean(), rel=1e-5)
    assert set(images["hat"]) == {"NA"}


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("name,pose\n0,1\n", {}, "have no column 'key' (columns: name, pose)"),
        ("key,pose\n0,1\n1,1\n", {}, "have no row for 4 outputs: 2, 3, 4, 5"),
        ("key,pose\n0,1\n0,2\n", {}, "key 0 occurs more than once"),
        ("key,pose\n0,1\n,2\n", {}, "line 3 has no key"),
        ("key,psnr\n0,1\n", {}, "results have a column psnr of their own"),
        ("key,mae@eyes\n0,1\n", {}, "results have a column mae@eyes of their own"),
        ("key,identity\n0,a\n1,\n2,b\n3,b\n4,b\n5,b\n", {}, "no identity for 1 outputs: 1"),
        ("key,identity\n0,a\n1,a\n2,b\n3,b\n4,b\n5,b\n", {"identity": "(.)"}, "identities are given twice"),
        ("", {}, "cannot be read"),
        ('key,pose\n0,"1\n', {}, "cannot be read"),
    ],
)
def test_labels_that_are_wrong(evaluation, folders, tmp_path, text, options, message):
    (tmp_path / "labels.csv").write_text(text)
    refused(lambda: evaluation(folders, labels=tmp_path / "labels.csv", **options), "labels.csv", message)


def test_labels_that_are_missing_or_not_text(evaluation, folders, tmp_path):
    refused(lambda: evaluation(folders, labels=tmp_path / "none.csv"), "none.csv cannot be read")
    (tmp_path / "labels.csv").write_bytes(b"key,pose\n\xff,1\n")
    refused(lambda: evaluation(folders, labels=tmp_path / "labels.csv"), "labels.csv cannot be read")


# ------------------------------------------------------------------ images that cannot be measured


@pytest.mark.parametrize(
    ("name", "write", "message"),
    [
        ("0.png", lambda image, path: path.write_bytes(b""), "is empty (0 bytes)"),
        ("0.png", lambda image, path: path.write_text("no picture"), "cannot be read"),
        ("0.png", lambda image, path: image.convert("RGBA").save(path), "has an alpha channel"),
        ("0.png", lambda image, path: image.convert("LA").save(path), "has an alpha channel"),
        ("0.png", lambda image, path: image.save(path, transparency=(0, 0, 0)), "has an alpha channel"),
        ("0.png", lambda image, path: image.convert("P").save(path), "has a palette"),
        ("0.png", lambda image, path: image.convert("I;16").save(path), "more than 8 bits"),
        ("0.tif", lambda image, path: image.convert("F").save(path), "more than 8 bits"),
        ("0.jpg", lambda image, path: image.convert("CMYK").save(path), "is in CMYK"),
        ("0.gif", lambda image, path: image.save(path), "has a palette"),
        (
            "0.webp",
            lambda image, path: image.save(path, save_all=True, append_images=[picture(1)], lossless=True),
            "holds several pictures",
        ),
        (
            "0.png",
            lambda image, path: image.save(path, save_all=True, append_images=[picture(1)]),
            "holds several pictures",
        ),
        ("0.png", lambda image, path: image.convert("L").save(path), "1 outputs are grey, their targets in colour: 0"),
        ("0.png", lambda image, path: image.resize((20, 20)).save(path), "0.png is 20 x 20 px; --resize"),
    ],
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_images_that_are_refused_before_anything_is_measured(evaluation, folders, tmp_path, name, write, message):
    (folders["outputs"] / "0.png").unlink()
    write(picture(0), folders["outputs"] / name)
    text = refused(lambda: evaluation(folders), name, message)
    assert "Traceback" not in text
    assert not (tmp_path / "results").exists()


def test_colour_of_16_bits_is_refused_though_pillow_would_cut_it_to_8(evaluation, folders):
    """Pillow cannot write such a PNG, so it is written byte by byte."""
    import struct
    import zlib

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", SIZE, SIZE, 16, 2, 0, 0, 0)
    rows = (b"\0" + b"\x12\x34" * 3 * SIZE) * SIZE
    data = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    (folders["targets"] / "2.png").write_bytes(b"\x89PNG\r\n\x1a\n" + data)
    assert Image.open(folders["targets"] / "2.png").mode == "RGB"
    refused(lambda: evaluation(folders), "1 of 6 targets", "2.png has more than 8 bits a channel")


def test_everything_wrong_is_reported_together(evaluation, tmp_path):
    for index in range(14):
        save(picture(index), tmp_path / "targets" / f"{index}.png")
        (tmp_path / "outputs").mkdir(exist_ok=True)
        (tmp_path / "outputs" / f"{index}.png").write_bytes(b"")
    folders = {role: tmp_path / role for role in ("outputs", "targets")}
    text = refused(lambda: evaluation(folders), "14 of 14 outputs cannot be measured", "... and 4 more")
    assert text.count("is empty") == 10


def test_a_truncated_image_is_reported_and_earlier_numbers_are_kept(evaluation, folders, monkeypatch):
    monkeypatch.setattr(shards, "SHARD", 2)
    whole = (folders["outputs"] / "5.png").read_bytes()
    (folders["outputs"] / "5.png").write_bytes(whole[: len(whole) // 2])
    refused(lambda: evaluation(folders, batch=1)(), "5.png cannot be read")
    assert evaluation(folders).measured == 4
    (folders["outputs"] / "5.png").write_bytes(whole)
    assert evaluation(folders).measured == 4
    assert evaluation(folders)().images == 6


def test_sizes_must_be_the_targets_unless_resize_is_given(evaluation, folders, tmp_path):
    for index in range(COUNT):
        save(picture(index, (2 * SIZE, 2 * SIZE)), folders["outputs"] / f"{index}.png")
    refused(lambda: evaluation(folders), "6 of 6 outputs differ in size from the targets (24 x 24 px)", "48 x 48 px")
    summary = evaluation(folders, resize=True)()
    output = Image.open(folders["outputs"] / "1.png").resize((SIZE, SIZE), Image.Resampling.BICUBIC)
    wanted = np.abs(np.asarray(output).astype(float) / 255 - pixels(folders["targets"] / "1.png")).mean()
    assert Results.read(tmp_path / "results").images["mae"][1] == pytest.approx(wanted, rel=1e-5)
    for metric in summary.metrics.values():
        assert "48 x 48 to 24 x 24 px, bicubic, antialiased" in metric.card["resized outputs"]
    assert "The outputs were resized" in summary.caveats[0]
    save(picture(0, (30, 24)), folders["targets"] / "0.png")
    refused(lambda: evaluation(folders, resize=True), "targets are of several sizes", "0.png is 30 x 24 px")


def test_images_that_are_not_square_and_stretched_ones(evaluation, folders, tmp_path):
    for index in range(COUNT):
        save(picture(index, (20, 30)), folders["targets"] / f"{index}.png")
    assert "were stretched" in evaluation(folders, resize=True)().caveats[1]
    for index in range(COUNT):
        save(picture(50 + index, (20, 30)), folders["outputs"] / f"{index}.png")
    assert not evaluation(folders)().caveats
    number = Results.read(tmp_path / "results").images["mae"][2]
    wanted = np.abs(pixels(folders["outputs"] / "2.png") - pixels(folders["targets"] / "2.png")).mean()
    assert number == pytest.approx(wanted, rel=1e-5)


def test_exif_orientation_is_applied(evaluation, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    upright = picture(0, (20, 30))
    save(upright.transpose(Image.Transpose.ROTATE_90), tmp_path / "outputs" / "0.png", exif=exif)
    save(upright, tmp_path / "targets" / "0.png")
    summary = evaluation({role: tmp_path / role for role in ("outputs", "targets")})()
    assert summary.metrics["mae"].mean == 0


def test_grey_images_are_measured_against_grey_ones(evaluation, folders):
    for role in folders:
        for index in range(COUNT):
            image = Image.open(folders[role] / f"{index}.png").convert("L")
            image.save(folders[role] / f"{index}.png")
    assert evaluation(folders)().metrics["mae"].mean > 0


def test_jpeg_files_are_measured_with_a_caveat(evaluation, folders):
    save(Image.open(folders["outputs"] / "0.png"), folders["outputs"] / "0.jpg")
    (folders["outputs"] / "0.png").unlink()
    assert evaluation(folders)().caveats == [
        "1 of the outputs are JPEG files: the loss of that format is part of the numbers."
    ]


# ------------------------------------------------------------------ folders


def test_missing_folders_are_refused(evaluation, folders, tmp_path):
    refused(lambda: evaluation({**folders, "targets": tmp_path / "no"}), "folder of targets", "does not exist")
    (tmp_path / "file").write_text("")
    refused(lambda: evaluation({**folders, "outputs": tmp_path / "file"}), "is not a folder")
    (tmp_path / "empty").mkdir()
    refused(lambda: evaluation({**folders, "outputs": tmp_path / "empty"}), "holds no image")
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    refused(lambda: evaluation({**folders, "outputs": tmp_path / "circle"}), "does not exist")


def test_an_image_is_not_measured_against_itself(evaluation, folders, tmp_path):
    same = {**folders, "targets": folders["outputs"]}
    refused(lambda: evaluation(same), "targets and outputs are one folder")
    (tmp_path / "link").symlink_to(folders["outputs"])
    refused(lambda: evaluation({**folders, "targets": tmp_path / "link"}), "are one folder")
    (folders["targets"] / "4.png").unlink()
    (folders["targets"] / "4.png").symlink_to(folders["outputs"] / "4.png")
    refused(lambda: evaluation(folders), "output 4.png and its target 4.png are one file")


def test_nested_folders_are_refused(evaluation, folders, tmp_path):
    (tmp_path / "targets").rename(tmp_path / "outputs" / "targets")
    folders["targets"] = tmp_path / "outputs" / "targets"
    refused(lambda: evaluation(folders), "is inside the folder of outputs")


def test_results_folders_that_are_refused(evaluation, folders, tmp_path, monkeypatch):
    for out in (folders["outputs"], folders["targets"] / "results"):
        refused(lambda out=out: evaluation(folders, out=out), "give another folder as --out")
    refused(lambda: evaluation(folders, out=tmp_path), "the results folder")
    (tmp_path / "file").write_text("")
    refused(lambda: evaluation(folders, out=tmp_path / "file"), "is a file")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("years of work")
    refused(lambda: evaluation(folders, out=tmp_path / "full"), "is not empty and holds no result")
    monkeypatch.chdir(tmp_path)
    assert PairsEvaluation(folders, None).folder == Path("evaluations/outputs")


def test_only_results_of_the_same_folders_are_replaced(evaluation, folders, tmp_path):
    evaluation(folders, metrics=["mae"])()
    assert set(evaluation(folders, metrics=["psnr"], pictures=0)().metrics) == {"psnr"}
    assert "mae" not in Results.read(tmp_path / "results").images
    assert not (tmp_path / "results" / "pictures").exists()
    others = {"outputs": tmp_path / "sources", "targets": folders["targets"]}
    refused(lambda: evaluation(others), "holds the result of other folders")


def test_a_results_folder_that_cannot_be_written(evaluation, folders, tmp_path):
    checked = evaluation(folders, out=tmp_path / "file" / "results")
    (tmp_path / "file").write_text("")
    refused(checked, "cannot write into")
    evaluation(folders)()
    (tmp_path / "results" / "grid.png").unlink()
    (tmp_path / "results" / "grid.png").mkdir()
    refused(evaluation(folders), "cannot write into")
    # Its numbers would stand beside the new pictures.
    assert not (tmp_path / "results" / "summary.json").exists()


# ------------------------------------------------------------------ hostile names


HOSTILE = [
    "a'b\"c",
    "<script>alert(1)</script>".replace("/", "\N{DIVISION SLASH}"),
    "two\nlines",
    "x" * 250,
    "comma, and {braces} %s \\",
    "=1+1",
    " blank ",
    "\N{RIGHT-TO-LEFT OVERRIDE}gnp",
    "\x1b[31mred",
]


def test_hostile_names_do_no_harm(evaluation, tmp_path):
    for index, name in enumerate(HOSTILE):
        for number, role in enumerate(("outputs", "targets")):
            save(picture(2 * index + number), tmp_path / role / f"{name}.png")
    folders = {role: tmp_path / role for role in ("outputs", "targets")}
    evaluation(folders, identity="(?s)(.*)")()
    images = Results.read(tmp_path / "results").images
    assert sorted(images["key"]) == sorted(HOSTILE) == sorted(images["identity"])
    (tmp_path / "targets" / "two\nlines.png").unlink()
    (tmp_path / "outputs" / "\x1b[31mred.png").write_bytes(b"")
    text = refused(lambda: evaluation(folders), r"two\nlines.png")
    assert "\x1b" not in text
    save(picture(0), tmp_path / "targets" / "two\nlines.png")
    assert "\x1b" not in refused(lambda: evaluation(folders), r"\x1b[31mred.png' is empty")
    red = save(picture(0), tmp_path / "outputs" / "\x1b[31mred.png")
    red.write_bytes(red.read_bytes()[:-300])
    assert "\x1b" not in refused(evaluation(folders), r"\x1b[31mred.png cannot be read")


# ------------------------------------------------------------------ resuming


class Stop(Exception):
    """Stands for a signal."""


@pytest.fixture
def halves(monkeypatch):
    """Shards of two images, each a batch; a progress that stops after four images."""
    monkeypatch.setattr(shards, "SHARD", 2)

    def progress(done: int, total: int) -> None:
        if done == 4:
            raise Stop

    return progress


def counted(evaluation: PairsEvaluation) -> list[int]:
    """The numbers of images done that a call reports."""
    seen: list[int] = []
    evaluation(lambda done, total: seen.append(done))
    return seen


def test_it_resumes_after_an_interruption(evaluation, folders, tmp_path, halves):
    whole = evaluation(folders, out=tmp_path / "whole")
    whole()
    with pytest.raises(Stop):
        evaluation(folders)(halves)
    again = evaluation(folders)
    assert again.begun
    assert again.measured == 4
    assert counted(again) == [6]
    first, second = (Results.read(tmp_path / name).images for name in ("whole", "results"))
    pd.testing.assert_frame_equal(first, second)


def test_a_changed_image_invalidates_its_own_shard(evaluation, folders, halves):
    with pytest.raises(Stop):
        evaluation(folders)(halves)
    save(picture(77), folders["targets"] / "3.png")
    assert evaluation(folders).measured == 2
    os.utime(folders["outputs"] / "0.png", (1, 1))
    assert evaluation(folders).measured == 0


def test_other_metrics_or_sizes_start_over(evaluation, folders, halves, tmp_path):
    with pytest.raises(Stop):
        evaluation(folders, metrics=["ms_ssim"])(halves)
    assert evaluation(folders, metrics=["ms_ssim"]).measured == 4
    # Neither option changes a number.
    assert evaluation(folders, metrics=["ms_ssim"], batch=1, pictures=0).measured == 4
    other = evaluation(folders, metrics=["ms_ssim"], overrides=["metrics.ms_ssim.scales=1"])
    assert other.begun
    assert other.measured == 0
    assert evaluation(folders, metrics=["ms_ssim", "mae"]).measured == 0
    assert evaluation({**folders, "sources": tmp_path / "sources"}, metrics=["ms_ssim"]).measured == 0


def test_a_damaged_file_of_numbers_is_measured_again(evaluation, folders, halves, tmp_path):
    with pytest.raises(Stop):
        evaluation(folders)(halves)
    file = tmp_path / "results" / WORK / "part-00000.npz"
    file.write_bytes(file.read_bytes()[:-40])
    assert evaluation(folders).measured == 2
    assert evaluation(folders)().images == 6


def test_an_earlier_result_is_kept_until_the_new_one_is_measured(evaluation, folders, halves, tmp_path):
    evaluation(folders)()
    with pytest.raises(Stop):
        evaluation(folders, metrics=["mae"])(halves)
    assert set(Results.read(tmp_path / "results").summary.metrics) == {"mae", "psnr"}


# ------------------------------------------------------------------ features, regions


@pytest.fixture
def feature_metrics(plugin):
    """A plugin with metrics of the whole set and of a gallery."""
    body = """
from enface import GalleryMetric, SetMetric
class MeanColour(SetMetric):
    '''Distance of mean colours.'''
    higher_is_better = False
    card = {"implementation": "test"}
    def features(self, image): return image.mean((2, 3))
    def distance(self, outputs, targets): return float(abs(outputs.mean(0) - targets.mean(0)).sum())
class Nearest(GalleryMetric):
    '''1 if the nearest target is of the same person.'''
    higher_is_better = True
    card = {"implementation": "test"}
    def features(self, image): return image.flatten(1)
    def matched(self, outputs, identities, gallery, gallery_identities):
        nearest = ((outputs[:, None] - gallery[None]) ** 2).sum(2).argmin(1)
        return (gallery_identities[nearest] == identities).astype("float32")
"""
    return plugin(body, brings="MeanColour, Nearest")


def test_feature_metrics_see_all_images(evaluation, feature_metrics, folders, tmp_path, halves):
    options = {"metrics": ["mean_colour", "nearest"], "plugins": [feature_metrics]}
    folders["sources"] = tmp_path / "sources"
    save(Image.open(folders["targets"] / "4.png"), folders["outputs"] / "4.png")
    with pytest.raises(Stop):
        evaluation(folders, **options)(halves)
    summary = evaluation(folders, **options)()
    means = [
        np.mean([pixels(tmp_path / role / f"{index}.png").mean((0, 1)) for index in range(COUNT)], 0)
        for role in ("outputs", "targets", "sources")
    ]
    assert summary.sets["mean_colour"].value == pytest.approx(np.abs(means[0] - means[1]).sum(), rel=1e-4)
    wanted = np.abs(means[2] - means[1]).sum()
    assert summary.sets["mean_colour"].baselines["source"] == pytest.approx(wanted, rel=1e-4)
    assert Results.read(tmp_path / "results").images["nearest"][4] == 1


@pytest.fixture
def left_half(plugin):
    """A plugin with masks: the left half of the target, and a part that no image has."""
    body = """
class Left(Mask):
    '''The left half of the target.'''
    def forward(self, target):
        weights = torch.zeros(1, 1, *target.shape[2:])
        weights[..., : target.shape[3] // 2] = 1
        return weights
class Nowhere(Mask):
    '''Nothing.'''
    def forward(self, target): return torch.zeros(1, 1, *target.shape[2:])
"""
    return plugin(body, brings="Left, Nowhere")


@pytest.mark.parametrize("size", [(SIZE, SIZE), (20, 30)])
def test_regions_are_measured_separately(evaluation, folders, left_half, tmp_path, size):
    for number, role in enumerate(folders):
        for index in range(COUNT):
            save(picture(100 * number + index, size), folders[role] / f"{index}.png")
    regions = {"plugins": [left_half], "overrides": ["regions.left.use=left", "regions.nowhere.use=nowhere"]}
    summary = evaluation(folders, metrics=["mae"], **regions)()
    output, target = (pixels(folders[role] / "1.png")[:, : size[0] // 2] for role in ("outputs", "targets"))
    images = Results.read(tmp_path / "results").images
    assert images["mae@left"][1] == pytest.approx(np.abs(output - target).mean(), rel=1e-5)
    assert summary.regions["nowhere"].images == 0
    assert "mae@nowhere could not be measured on any image." in summary.caveats
    assert evaluation(folders, metrics=["mae"], **regions, out=tmp_path / "other")._settings() != (
        evaluation(folders, metrics=["mae"], out=tmp_path / "other")._settings()
    )


def test_regions_are_set_like_recipe_keys(evaluation, folders, tmp_path):
    sets = ["regions.middle.use=ellipse", "regions.middle.inside=1", "regions.middle.outside=0"]
    summary = evaluation(folders, metrics=["mae"], overrides=sets)()
    from enface.plugin.catalog import Catalog
    from enface.plugin.components import DataInfo
    from enface.plugin.manager import load_plugins

    mask = Catalog(load_plugins()).build("mask", "ellipse", {"inside": 1, "outside": 0}, DataInfo.square(SIZE))
    weights = mask(step=0)[0, 0].numpy()
    output, target = (pixels(folders[role] / "1.png") for role in ("outputs", "targets"))
    wanted = (np.abs(output - target).mean(2) * weights).sum() / weights.sum()
    assert Results.read(tmp_path / "results").images["mae@middle"][1] == pytest.approx(wanted, rel=1e-4)
    assert list(summary.regions) == ["middle"]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ("regions.eyes.use=nothing", "no mask is called 'nothing'"),
        ("regions.eyes.use=ellipse regions.eyes.insid=3", "regions.eyes.insid"),
        ("regions.eyes=3", "regions.eyes: must be a map"),
        ("regions.parts.use=regions regions.parts.weights.eyes=1", "no targets|training pairs|region maps"),
        (
            "region.eyes.use=ellipse",
            "metrics.NAME.KEY=VALUE, masks.NAME.KEY=VALUE, regions.NAME.KEY=VALUE",
        ),
    ],
)
def test_regions_that_are_wrong(evaluation, folders, overrides, message):
    with pytest.raises(EnfaceError, match=message):
        evaluation(folders, metrics=["mae"], overrides=overrides.split())


def test_a_mask_weights_a_metric_as_in_a_recipe(evaluation, folders, tmp_path):
    mask = ["masks.middle.use=ellipse", "masks.middle.inside=1", "masks.middle.outside=0", "metrics.mae.mask=middle"]
    region = [item.replace("masks.", "regions.") for item in mask[:3]]
    card = evaluation(folders, metrics=["mae"], overrides=mask)().metrics["mae"].card
    masked = Results.read(tmp_path / "results").images["mae"]
    evaluation(folders, metrics=["mae"], overrides=region)()
    pd.testing.assert_series_equal(masked, Results.read(tmp_path / "results").images["mae@middle"], check_names=False)
    assert card["mask"] == "middle"
    for role in folders:
        for index in range(COUNT):
            save(picture(index, (20, 30)), folders[role] / f"{index}.png")
    refused(lambda: evaluation(folders, overrides=mask), "metrics.mae.mask", "20 x 30 px", error=RecipeError)


# ------------------------------------------------------------------ memory


def test_memory_does_not_grow_with_the_number_of_images(evaluation, tmp_path, monkeypatch):
    """2,000 pairs of 96 px are 110 MB decoded and 440 MB as float32; memory holds a few batches."""
    if not Path("/proc/self/statm").is_file():
        pytest.skip("memory in use is read from /proc, which this system lacks")
    # The allocator keeps memory for each thread.
    monkeypatch.setattr("enface_tools.pairs.evaluation.THREADS", 1)
    data = {role: [save_bytes(picture(number, (96, 96))) for number in range(4)] for role in ("outputs", "targets")}
    for role, files in data.items():
        for folder, count in {"few": 300, "many": 2000}.items():
            (tmp_path / folder / role).mkdir(parents=True)
            for index in range(count):
                (tmp_path / folder / role / f"{index}.png").write_bytes(files[index % 4 - (role == "outputs")])
    in_use: list[float] = []

    def progress(done: int, total: int) -> None:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        in_use.append(pages * os.sysconf("SC_PAGE_SIZE") / 2**20)

    # The first evaluation also allocates what torch needs once.
    for folder in ("few", "many"):
        folders = {role: tmp_path / folder / role for role in data}
        checked = evaluation(folders, out=tmp_path / folder / "results", pictures=0, metrics=["mae", "ssim"])
        before = len(in_use)
        checked(progress)
    # The 1,700 pairs more are 94 MB decoded.
    assert max(in_use[before:]) - max(in_use[:before]) < 48


def save_bytes(image: Image.Image) -> bytes:
    from io import BytesIO

    file = BytesIO()
    image.save(file, "PNG")
    return file.getvalue()
