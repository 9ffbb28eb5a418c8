"""``enface init``: layouts, recipes, pictures and messages."""

from __future__ import annotations

import re

import numpy as np
import pytest
import toy_pairs
import yaml
from PIL import Image

from enface.recipe.load import load_recipe

IDENTITY = r"^(?P<identity>\d+)"
# Keys of data that read each layout of the toy pairs.
DATA = {
    "source_target": {"use": "paired_folders", "identity": IDENTITY},
    "a_b": {"use": "paired_folders", "source": "A", "target": "B", "identity": IDENTITY},
    "side_by_side": {
        **{"use": "paired_folders", "layout": "side_by_side", "source_side": "left", "identity": IDENTITY},
    },
    "side_by_side_splits": {
        **{"use": "paired_folders", "layout": "side_by_side", "source_side": "left", "identity": IDENTITY},
    },
    "train_a_b": {"use": "paired_folders", "source": "A", "target": "B", "identity": IDENTITY},
    "source_target_splits": {"use": "paired_folders", "identity": IDENTITY},
    "labelled": {
        "use": "labelled_folder",
        "pattern": r"(?P<identity>[^/_]+)_yaw(?P<pose>[+-]?\d+)_light(?P<light>[+-]?\d+)",
    },
    "multipie": {"use": "multipie"},
}
# Sources and people of train, val and test: eight people with two pairs, six labelled or three Multi-PIE images each.
SPLITS = {
    "source_target": [(12, 6), (2, 1), (2, 1)],
    "a_b": [(12, 6), (2, 1), (2, 1)],
    "side_by_side": [(12, 6), (2, 1), (2, 1)],
    "side_by_side_splits": [(8, 4), (4, 2), (4, 2)],
    # Six people under train*, of whom one validates.
    "train_a_b": [(10, 5), (2, 1), (4, 2)],
    "source_target_splits": [(8, 4), (4, 2), (4, 2)],
    "labelled": [(36, 6), (6, 1), (6, 1)],
    "multipie": [(18, 6), (3, 1), (3, 1)],
}
# A few steps of a narrow network, without pretrained weights.
SMALL = {
    "translate": (
        *("stages.main.steps=2", "stages.main.batch=2", "generator.width=4"),
        "stages.main.discriminators.patch.width=4",
    ),
    "frontalize": (
        *("stages.pixels.steps=2", "stages.pixels.batch=2", "generator.width=0.125"),
        "stages.pixels.terms.perceptual=false",
    ),
    "restore": (
        *("stages.main.steps=2", "stages.main.batch=2", "generator.width=4", "stages.main.terms.lpips=false"),
        "generator.middle_blocks=1",
    ),
}
MEASURED = ("metrics=[mae,ssim]", "log.best=ssim", "log.validate=2", "log.checkpoint=2", "log.samples=0")


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def read(path):
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def sets(*overrides):
    return [item for override in overrides for item in ("--set", override)]


@pytest.mark.parametrize("layout", toy_pairs.LAYOUTS)
def test_each_layout_leads_from_an_empty_folder_to_a_report_with_ssim(enface, tmp_path, layout):
    toy_pairs.LAYOUTS[layout](tmp_path / layout)
    outcome = enface("init", layout)
    assert outcome.code == 0, outcome.err
    parts = re.findall(r"^  (train|val|test) +(\d+) pairs of (\d+) (?:people|person)$", outcome.out, re.M)
    expected = zip(("train", "val", "test"), SPLITS[layout], strict=True)
    assert parts == [(name, str(pairs), str(people)) for name, (pairs, people) in expected]
    assert outcome.out.splitlines()[-1] == f"next: look at the pairs, then enface run {layout}.yaml"
    content = read(tmp_path / f"{layout}.yaml")
    keys = {key: content["data"][key] for key in content["data"] if key not in ("size", "load_size", "fit", "split")}
    assert keys == {"root": layout, **DATA[layout]}
    assert content["data"]["size"] == 32
    with Image.open(tmp_path / f"{layout}.pairs.png") as picture:
        assert picture.size == (3 * 20 + 2 * (2 * 160 + 6), 4 * 20 + 3 * (160 + 3 * 17))
    task = "frontalize" if layout in ("labelled", "multipie") else "translate"
    trained = enface("run", f"{layout}.yaml", *sets(*SMALL[task], *MEASURED))
    assert trained.code == 0, trained.err
    (report,) = (tmp_path / "runs").glob("*/*/report/index.html")
    assert "ssim" in report.read_text(encoding="utf-8").lower()
    (summary,) = (tmp_path / "runs").glob("*/*/evaluation/**/summary.json")
    assert '"ssim"' in summary.read_text(encoding="utf-8")


@pytest.mark.parametrize("task", SMALL)
@pytest.mark.parametrize("layout", ["source_target_splits", "labelled"])
def test_the_template_of_each_task_is_valid_for_pairs_and_for_labels(enface, tmp_path, layout, task):
    toy_pairs.LAYOUTS[layout](tmp_path / "faces")
    assert enface("init", "faces", "--task", task).code == 0
    outcome = enface("check", "faces.yaml")
    assert outcome.code == 0, outcome.err
    recipe = load_recipe(tmp_path / "faces.yaml").recipe
    assert recipe.log.best == "lpips"
    assert set(recipe.metrics) == {"mae", "psnr", "ssim", "lpips"}


def test_restore_trains(enface, tmp_path):
    toy_pairs.source_target(tmp_path / "faces")
    assert enface("init", "faces", "--task", "restore").code == 0
    outcome = enface("run", "faces.yaml", *sets(*SMALL["restore"], *MEASURED))
    assert outcome.code == 0, outcome.err
    assert list((tmp_path / "runs").glob("*/*/report/index.html"))


def test_the_stage_in_comments_is_valid_without_its_comment_signs(enface, tmp_path):
    toy_pairs.labelled(tmp_path / "faces")
    enface("init", "faces")
    path = tmp_path / "faces.yaml"
    text = path.read_text(encoding="utf-8")
    first, stage = text.split("  # adversarial:", 1)
    lines, rest = re.match(r"((?:.*\n)(?:  #   .*\n)+)(.*)", stage, re.S).groups()
    path.write_text(f"{first}  adversarial:{lines.replace('  # ', '  ')}{rest}", encoding="utf-8")
    stages = load_recipe(path).recipe.stages
    assert list(stages) == ["pixels", "adversarial"]
    assert stages["adversarial"].terms["gan"].against == "patch"


# ---------------------------------------------------------------------- choices


@pytest.mark.parametrize(
    ("source", "target", "task"),
    [("lq", "gt", "restore"), ("profile", "frontal", "frontalize"), ("input", "output", "translate")],
)
def test_the_names_of_folders_suggest_the_task(enface, tmp_path, source, target, task):
    toy_pairs.source_target(tmp_path / "faces")
    for old, new in (("source", source), ("target", target)):
        (tmp_path / "faces" / old).rename(tmp_path / "faces" / new)
    assert f"task      {task} (" in enface("init", "faces").out


def test_images_that_are_not_square_keep_their_shape(enface, tmp_path):
    for role in ("source", "target"):
        (tmp_path / "views" / role).mkdir(parents=True)
        for number in range(12):
            Image.new("RGB", (160, 120), (20 * number, 90, 60)).save(tmp_path / "views" / role / f"{number}.png")
    outcome = enface("init", "views")
    assert outcome.code == 0, outcome.err
    data = read(tmp_path / "views.yaml")["data"]
    # 64 x 85.3 px to the nearest multiple of 16, and an eighth more to crop from.
    assert (data["size"], data["load_size"], data["fit"]) == ([64, 80], [72, 90], "crop")
    assert "160 x 120 px" in outcome.out


def test_grey_and_16_bit_images_set_channels_and_depth(enface, tmp_path):
    for role, mode in (("source", np.uint16), ("target", np.uint16)):
        (tmp_path / "scans" / role).mkdir(parents=True)
        for number in range(6):
            pixels = np.full((40, 40), 9000 * (number + 1), mode)
            Image.fromarray(pixels).save(tmp_path / "scans" / role / f"{number}.png")
    outcome = enface("init", "scans")
    assert outcome.code == 0, outcome.err
    data = read(tmp_path / "scans.yaml")["data"]
    assert data["channels"] == {"source": 1, "target": 1}
    assert data["depth"] == 16


def test_pairs_of_more_planes_have_no_loss_or_metric_of_colour_images(enface, tmp_path):
    for role, planes in (("source", 3), ("target", 5)):
        (tmp_path / "bands" / role).mkdir(parents=True)
        for number in range(6):
            np.save(tmp_path / "bands" / role / f"{number}.npy", np.full((48, 40, planes), 40 * number, np.uint8))
    outcome = enface("init", "bands", "--task", "restore")
    assert outcome.code == 0, outcome.err
    assert "target    40 x 48 px, 5 planes" in outcome.out
    content = read(tmp_path / "bands.yaml")
    assert content["data"]["channels"] == {"source": 3, "target": 5}
    assert content["metrics"] == ["mae", "psnr", "ssim"]
    assert list(content["stages"]["main"]["terms"]) == ["charbonnier"]
    # The output has other planes than the source, which cannot be added to it.
    assert content["generator"]["residual"] is False
    assert enface("check", "bands.yaml", "--data").code == 0


def test_sizes_are_those_that_a_viewer_shows(enface, tmp_path):
    turned = Image.Exif()
    turned[274] = 6
    for role in ("source", "target"):
        (tmp_path / "phone" / role).mkdir(parents=True)
        for number in range(6):
            image = Image.new("RGB", (160, 120), (20 * number, 90, 60))
            image.save(tmp_path / "phone" / role / f"{number}.jpg", exif=turned)
    outcome = enface("init", "phone")
    assert "120 x 160 px" in outcome.out
    assert read(tmp_path / "phone.yaml")["data"]["size"] == [80, 64]


def test_without_a_frontal_pose_the_middle_one_is_the_target_and_said_to_be_a_guess(enface, tmp_path):
    (tmp_path / "views").mkdir()
    for person in range(4):
        for pose in (10, 90, 170):
            toy_pairs.face(person, pose - 90).save(tmp_path / "views" / f"{person:03}_angle{pose}.png")
    outcome = enface("init", "views")
    assert outcome.code == 0, outcome.err
    content = (tmp_path / "views.yaml").read_text(encoding="utf-8")
    assert yaml.safe_load(content)["pairs"]["target"] == {"same": ["identity"], "where": {"pose": 90}}
    assert "this is a guess" in content
    # Poses have no mirror images, so nothing is flipped.
    assert "augment" not in yaml.safe_load(content)


def test_pairs_without_people_say_how_to_name_them(enface, tmp_path):
    for role in ("source", "target"):
        (tmp_path / "pairs" / role).mkdir(parents=True)
        for name in ("ash", "birch", "cedar", "elm", "fir", "oak"):
            toy_pairs.face(len(name)).save(tmp_path / "pairs" / role / f"{name}.png")
    outcome = enface("init", "pairs")
    assert "6 pairs of 6 people: each pair counts as one" in outcome.out
    assert "identity: '^(?P<identity>[^_]+)'" in (tmp_path / "pairs.yaml").read_text(encoding="utf-8")


def test_the_root_is_relative_below_the_recipe_and_absolute_elsewhere(enface, tmp_path):
    toy_pairs.source_target(tmp_path / "data" / "faces")
    enface("init", "data/faces", "--out", "data/here.yaml")
    enface("init", "data/faces", "--out", "recipes/there.yaml")
    assert read(tmp_path / "data" / "here.yaml")["data"]["root"] == "faces"
    assert read(tmp_path / "recipes" / "there.yaml")["data"]["root"] == (tmp_path / "data" / "faces").as_posix()
    assert enface("check", "recipes/there.yaml").code == 0
    assert (tmp_path / "recipes" / "there.pairs.png").is_file()


@pytest.mark.parametrize(
    ("folder", "name"), [("2024 faces", "data-2024-faces"), ("visages é", "visages"), ("a.b", "a-b")]
)
def test_any_folder_name_becomes_the_name_of_a_recipe(enface, tmp_path, folder, name):
    toy_pairs.source_target(tmp_path / folder)
    assert enface("init", folder).code == 0
    assert load_recipe(tmp_path / f"{name}.yaml").recipe.name == name


def test_recipes_of_one_folder_have_the_names_of_their_files(enface, tmp_path):
    toy_pairs.source_target(tmp_path / "faces")
    enface("init", "faces", "--task", "restore", "--out", "restored.yaml")
    assert read(tmp_path / "restored.yaml")["name"] == "restored"


def test_recipe_and_picture_never_lie_among_the_images(enface, tmp_path, monkeypatch):
    toy_pairs.labelled(tmp_path / "faces")
    monkeypatch.chdir(tmp_path / "faces")
    assert enface("init", ".").code == 0
    assert (tmp_path / "faces.pairs.png").is_file()
    assert read(tmp_path / "faces.yaml")["data"]["root"] == "faces"
    outcome = enface("init", ".", "--out", "here.yaml")
    assert outcome.code == 2
    assert "here.pairs.png would lie among the images" in outcome.err
    assert not list((tmp_path / "faces").glob("*.yaml"))


# ---------------------------------------------------------------------- refusals


def test_an_existing_recipe_is_not_overwritten_without_force(enface, tmp_path):
    toy_pairs.source_target(tmp_path / "faces")
    (tmp_path / "faces.yaml").write_text("name: mine\n", encoding="utf-8")
    outcome = enface("init", "faces")
    assert outcome.code == 2
    assert "faces.yaml exists; --force overwrites it" in outcome.err
    assert (tmp_path / "faces.yaml").read_text(encoding="utf-8") == "name: mine\n"
    assert enface("init", "faces", "--force").code == 0
    assert read(tmp_path / "faces.yaml")["name"] == "faces"


def test_an_unknown_layout_is_described_beside_the_known_ones(enface, tmp_path):
    for folder, count in (("one", 3), ("two", 4), ("three", 5)):
        (tmp_path / "mixed" / folder).mkdir(parents=True)
        for number in range(count):
            toy_pairs.face(number).save(tmp_path / "mixed" / folder / f"{folder}-{number}.png")
    outcome = enface("init", "mixed")
    assert outcome.code == 2
    assert "mixed holds 12 images:" in outcome.err
    for line in ("three/: 5 images, such as three-0.png, three-1.png, three-2.png", "one/: 3 images"):
        assert line in outcome.err
    for known in ("source/ and target/", "side by side", "007_yaw-045.png", "Multi-PIE", "train/, val/ and test/"):
        assert known in outcome.err
    assert not list(tmp_path.glob("*.yaml"))


def test_images_without_a_counterpart_are_named_and_nothing_is_written(enface, tmp_path):
    toy_pairs.source_target(tmp_path / "faces")
    (tmp_path / "faces" / "target" / "003_1.png").unlink()
    outcome = enface("init", "faces")
    assert outcome.code == 2
    assert "003_1.png" in outcome.err
    assert not list(tmp_path.glob("*.yaml"))


def test_files_that_are_no_images_are_reported(enface, tmp_path):
    toy_pairs.source_target(tmp_path / "faces")
    (tmp_path / "faces" / "source" / "000_0.png").write_bytes(b"no image")
    outcome = enface("init", "faces")
    assert "unreadable images: 1, such as faces/source/000_0.png" in outcome.out


def test_sources_and_targets_of_different_shapes_are_reported(enface, tmp_path):
    toy_pairs.source_target(tmp_path / "faces")
    assert "crop cuts them differently" not in enface("init", "faces", "--out", "equal.yaml").out
    for path in (tmp_path / "faces" / "source").iterdir():
        image = Image.open(path)
        image.resize((image.width, 2 * image.height)).save(path)
    assert "crop cuts them differently" in enface("init", "faces", "--out", "tall.yaml").out


def test_a_missing_folder_is_one_message(enface):
    outcome = enface("init", "nowhere")
    assert outcome.code == 2
    assert outcome.err.startswith("error: image folder nowhere does not exist")
