"""benchmarks/photos.py and the recipes for photographs: alignment of faces at made-up places, parts, tables."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from enface.recipe.files import runs_in
from enface.recipe.load import load_recipe

ROOT = Path(__file__).resolve().parents[2]
FRMDB = ROOT / "recipes" / "frmdb.yaml"
PRETRAIN = ROOT / "recipes" / "photos" / "pretrain.yaml"


@pytest.fixture(scope="module")
def programs() -> Iterator[SimpleNamespace]:
    """The benchmark's modules, which import each other by name from their own folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "benchmarks"))
        import alignment
        import photo_parts
        import photo_tables

        yield SimpleNamespace(alignment=alignment, parts=photo_parts, tables=photo_tables)


# ------------------------------------------------------------------- alignment


def face_at(left: int, top: int, side: int) -> Image.Image:
    """A black photograph of 200 px with a white square."""
    pixels = np.zeros((200, 200, 3), np.uint8)
    pixels[top : top + side, left : left + side] = 255
    return Image.fromarray(pixels)


def square_in(image: Image.Image) -> tuple[float, float, float, float]:
    """Centre, width and height of the white square in an image, as shares of its sides."""
    white = np.asarray(image)[..., 0] > 127
    across, down = white.any(0).nonzero()[0], white.any(1).nonzero()[0]
    places = [(found[0] + found[-1] + 1) / 2 / len(white) for found in (across, down)]
    return places[0], places[1], len(across) / len(white), len(down) / len(white)


# The box has 54 % of the crop's side and its middle is 58.5 % down; at +45 and +90 degrees 57.5 % and 62 % across.
@pytest.mark.parametrize(("yaw", "across"), [(0, 0.5), (45, 0.575), (-45, 0.425), (90, 0.62), (-90, 0.38)])
@pytest.mark.parametrize(("left", "top", "side"), [(60, 70, 80), (150, 140, 40), (10, 5, 120)])
def test_a_box_is_moved_to_its_place_wherever_it_is(programs, yaw, across, left, top, side):
    box = programs.alignment.Box((left + side / 2) / 200, (top + side / 2) / 200, side / 200)
    aligned = programs.alignment.cut(face_at(left, top, side), programs.alignment.window(box, yaw))
    assert aligned.size == (128, 128)
    assert square_in(aligned) == pytest.approx((across, 0.585, 0.54, 0.54), abs=1 / 128)


def test_outside_the_photograph_its_edge_is_repeated(programs):
    # A quarter of the window is left of the photograph, whose left half is white.
    pixels = np.zeros((100, 100, 3), np.uint8)
    pixels[:, :50] = 255
    shown = np.asarray(programs.alignment.cut(Image.fromarray(pixels), (-0.25, 0, 0.75, 1), size=100))[..., 0]
    assert (shown[:, :73] == 255).all()
    assert (shown[:, 77:] == 0).all()


def test_eyes_seen_from_the_front_refine_the_box(programs):
    box = programs.alignment.Box(0.52, 0.5, 0.45)
    points = np.array([[0.45, 0.4], [0.35, 0.4], [0.55, 0.4], [0.65, 0.4], [0.51, 0.55]])
    # The middles of the eyes are 0.2 apart: a box of 2.2 times that, its middle 0.28 times that below them.
    refined = programs.alignment.refined(box, points)
    assert (refined.x, refined.y, refined.side) == pytest.approx((0.5, 0.456, 0.44))


@pytest.mark.parametrize(
    "points",
    [
        [[0.45, 0.4], [0.35, 0.4], [0.55, 0.4], [0.65, 0.4], [0.6, 0.55]],
        [[0.45, 0.4], [0.35, 0.4], [0.55, 0.45], [0.65, 0.45], [0.5, 0.55]],
        [[0.5, 0.4], [0.45, 0.4], [0.51, 0.4], [0.56, 0.4], [0.505, 0.55]],
    ],
    ids=["nose-aside", "tilted", "eyes-too-near"],
)
def test_landmarks_of_a_turned_face_are_not_used(programs, points):
    box = programs.alignment.Box(0.52, 0.5, 0.45)
    assert programs.alignment.refined(box, np.array(points)) == box


def test_a_photograph_without_a_face_takes_the_mean_box_of_its_pose(programs, tmp_path):
    Box = programs.alignment.Box
    boxes = {}
    for person, box in (("001", Box(0.4, 0.5, 0.3)), ("002", Box(0.6, 0.5, 0.5)), ("003", None)):
        file = tmp_path / "in" / person / f"{person}_yaw-045_pitch+30.png"
        file.parent.mkdir(parents=True)
        face_at(60, 60, 80).save(file)
        boxes[file] = box
    other = tmp_path / "in" / "001" / "001_yaw+000_pitch+00.png"
    face_at(0, 0, 10).save(other)
    boxes[other] = Box(0.1, 0.1, 0.1)
    counts = programs.alignment.align(tmp_path / "in", tmp_path / "out", boxes)
    assert counts == {-45: (2, 3), 0: (1, 1)}
    # The mean box of yaw -45 is the square itself: middle 0.5, 0.5, side 0.4.
    written = Image.open(tmp_path / "out" / "003" / "003_yaw-045_pitch+30.png")
    assert square_in(written) == pytest.approx((0.425, 0.585, 0.54, 0.54), abs=1 / 128)
    assert sorted(path.name for path in (tmp_path / "out").rglob("*.png")) == sorted(path.name for path in boxes)


def test_folders_that_cannot_be_aligned_are_refused(programs, tmp_path):
    with pytest.raises(ValueError, match="001_yaw"):
        programs.alignment.photographs(tmp_path)
    file = tmp_path / "001_yaw+000_pitch+00.png"
    Image.new("RGB", (8, 6)).save(file)
    assert programs.alignment.photographs(tmp_path) == [file]
    with pytest.raises(ValueError, match="yaw \\+0, pitch \\+0"):
        programs.alignment.align(tmp_path, tmp_path / "out", {file: None})
    with pytest.raises(ValueError, match="8 x 6 pixels"):
        programs.alignment.align(tmp_path, tmp_path / "out", {file: programs.alignment.Box(0.5, 0.5, 0.5)})


# --------------------------------------------------------------------- recipes


def test_sources_are_all_views_but_the_target():
    recipe = load_recipe(FRMDB).recipe
    views = {f"yaw{yaw:+04}_pitch{pitch:+03}" for yaw in (-90, -45, 0, 45, 90) for pitch in (-30, 0, 30)}
    assert set(recipe.pairs.source.where["view"]) == views - {"yaw+000_pitch+00"}
    match = re.search(recipe.data.params["pattern"], "017/017_yaw-045_pitch+30.png")
    assert match.groupdict() == {"identity": "017", "view": "yaw-045_pitch+30", "pose": "-045", "pitch": "+30"}


def test_the_weights_of_the_pretraining_fit():
    photographs, heads = load_recipe(FRMDB).recipe, load_recipe(PRETRAIN).recipe
    assert (photographs.generator, photographs.data.size) == (heads.generator, heads.data.size)
    assert Path(photographs.stages["photographs"].start.run).parts[-2:] == ("runs", heads.name)
    # Of the same 412 people, those for validation train in no variant.
    assert heads.data.split.train == ["0000-0399"]
    assert heads.data.params["identities"] == 412


# ----------------------------------------------------------------------- parts


@pytest.fixture
def settings(programs, tmp_path):
    return programs.parts.Settings(tmp_path / "runs", tmp_path / "aligned", tmp_path / "crops", 30, 70, seed=3)


def loaded(job):
    words = job.arguments()
    return load_recipe(job.recipe, [words[index + 1] for index, word in enumerate(words) if word == "--set"]).recipe


def test_each_pretraining_comes_once_before_the_runs_that_start_from_it(programs, settings):
    names = [job.name for job in programs.parts.jobs(settings)]
    assert names == [
        "photos-pretrain",
        "whole",
        "crops",
        "photos-pretrain-96",
        "people-96",
        "scratch",
        "photos-pretrain-no-flow",
        "no-flow",
        "photos-pretrain-unet",
        "unet",
        "photos-pretrain-siamese",
        "siamese",
    ]
    assert [job.name for job in programs.parts.jobs(settings, ["scratch", "crops"])] == [
        "photos-pretrain",
        "crops",
        "scratch",
    ]


def test_every_part_is_a_recipe_that_measures_validation_people_only(programs, settings):
    recipes = {job.name: loaded(job) for job in programs.parts.jobs(settings)}
    for part in programs.parts.PARTS:
        recipe = recipes[part.name]
        stage = recipe.stages["photographs"]
        assert (recipe.evaluation.split, recipe.seed, stage.steps, stage.optimizer.lr.over) == ("val", 3, 30, 30)
        assert Path(recipe.data.params["root"]).name == ("aligned" if part.aligned else "crops")
        if part.pretraining is None:
            assert stage.start == "scratch"
            continue
        heads = recipes[part.pretraining]
        assert heads.generator == recipe.generator
        assert heads.stages["pixels"].steps == heads.stages["pixels"].optimizer.lr.over == 70
        assert Path(stage.start.run) == settings.out / part.pretraining
    assert recipes["unet"].generator.use == "unet"
    assert recipes["siamese"].stages["photographs"].start.parts == ["encoder", "decoder"]


def test_a_part_leaves_out_one_thing(programs, settings):
    recipes = {job.name: loaded(job).dump() for job in programs.parts.jobs(settings)}
    whole = recipes["photos-pretrain"]
    fewer, unsupervised = recipes["photos-pretrain-96"], recipes["photos-pretrain-no-flow"]
    assert whole["data"]["split"].pop("train") == ["0000-0399"]
    assert fewer["data"]["split"].pop("train") == ["0000-0095"]
    for recipe in (whole, fewer):
        del recipe["name"]
    assert whole == fewer
    assert whole["stages"]["pixels"]["terms"].pop("flow_epe")
    assert unsupervised["stages"] == whole["stages"]


def test_a_finished_run_is_skipped_and_an_interrupted_one_resumed(programs, settings):
    job = next(programs.parts.jobs(settings, ["scratch"]))
    assert "--resume" not in job.arguments()
    run = settings.out / "scratch" / "20260101-000000"
    (run / "evaluation" / "val").mkdir(parents=True)
    (run / "recipe.yaml").write_text("evaluation: {split: val}\n", encoding="utf-8")
    assert runs_in(settings.out / "scratch") == [run]
    assert job.arguments()[-1] == "--resume"
    (run / "evaluation" / "val" / "summary.json").write_text("{}", encoding="utf-8")
    assert programs.parts.train(job, threads=1) is False


# ---------------------------------------------------------------------- tables


def run_with(folder: Path, ssim: float, mean_face: float, lpips: float = 0.2) -> Path:
    """A run with six validation people, each from two sides; LPIPS is 0.1 worse at 90 degrees."""
    val = folder / "evaluation" / "val"
    val.mkdir(parents=True)
    rows = [
        {"key": f"{person}_{pose}", "identity": person, "pose": pose, "sharpness": 0.5, "bonus": number / 100}
        for number, person in enumerate(("049", "050", "051", "052", "053", "054"))
        for pose in (-45, 90)
    ]
    table = pd.DataFrame(rows)
    for name, value in (("images", ssim), ("mean_target", mean_face), ("source", 0.1)):
        lpips_of = (lpips if name == "images" else 0.3) + 0.1 * (table["pose"] == 90)
        scores = table.assign(ssim=value + table["bonus"], lpips=lpips_of).drop(columns="bonus")
        scores.sample(frac=1, random_state=len(name)).to_csv(val / f"{name}.csv", index=False)
    return folder


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_tables_of_made_up_runs(programs, tmp_path):
    by_name = {part.name: part for part in programs.parts.PARTS}
    runs = {
        by_name["whole"]: run_with(tmp_path / "whole", 0.5, 0.45),
        by_name["crops"]: run_with(tmp_path / "crops", 0.4, 0.38, lpips=0.25),
    }
    head, _, whole, crops, *baselines = map(cells, programs.tables.result_table(runs).splitlines())
    row = dict(zip(head, whole, strict=True))
    # The people's bonus has mean 0.025; LPIPS has mean 0.05 more over both yaws.
    assert (row["recipe"], row["ssim all"], row["ssim 45"], row["ssim 90"]) == ("all parts", *["0.525"] * 3)
    assert (row["lpips all"], row["lpips 45"], row["lpips 90"]) == ("0.250", "0.200", "0.300")
    assert dict(zip(head, crops, strict=True))["lpips 90"] == "0.350"
    assert [line[0] for line in baselines] == [
        "mean face, aligned",
        "source, aligned",
        "mean face, not aligned",
        "source, not aligned",
    ]
    assert baselines[2][1] == "0.405"
    # Gains over the mean face: 0.05 with alignment and 0.02 without; in LPIPS 0.1 and 0.05. Equal for all people.
    head, _, shares = map(cells, programs.tables.share_table(runs).splitlines())
    assert shares[0] == "without alignment"
    assert shares[1:] == ["+0.030 [+0.030, +0.030]"] * 3 + ["+0.050 [+0.050, +0.050]"] * 3


def test_runs_on_other_photographs_are_not_compared(programs, tmp_path):
    by_name = {part.name: part for part in programs.parts.PARTS}
    whole, scratch = (run_with(tmp_path / name, 0.5, 0.45) for name in ("whole", "scratch"))
    for name in ("images", "mean_target"):
        file = scratch / "evaluation" / "val" / f"{name}.csv"
        pd.read_csv(file, dtype={"identity": str}).iloc[1:].to_csv(file, index=False)
    with pytest.raises(SystemExit, match="other images"):
        programs.tables.share_table({by_name["whole"]: whole, by_name["scratch"]: scratch})
