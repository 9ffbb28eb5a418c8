"""Checks of the audit: each finds planted faults, and reports nothing in clean data."""

from __future__ import annotations

import io
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from enface.data.pairs import split_rows
from enface.errors import DataError
from enface.recipe.models import PairsModel, SplitModel
from enface_tools.audit.checks import CHECKS, failing, parse_fail_on, run_checks
from enface_tools.audit.duplicates import coarse, differences, duplicates
from enface_tools.audit.findings import AuditedData
from enface_tools.audit.hashes import close_pairs

POSES = (-60, -30, 0, 30, 60)
PEOPLE, SIZE, LIGHTS = 14, 64, 2
PAIRS = {
    "target": {"same": ["identity"], "where": {"pose": 0, "light": 0}},
    "partner": {"adjacent": "pose", "same": ["identity", "light"], "chance": 0.5},
}
SPLIT = {"by": "identity", "train": 8, "val": 2, "test": 4}


def face(person: int, pose: int, light: int) -> np.ndarray:
    """An oval head of one person, turned and lit: eyes, nose and mouth move with the pose."""
    rng = np.random.default_rng(person)
    y, x = np.mgrid[-1 : 1 : SIZE * 1j, -1 : 1 : SIZE * 1j]
    turn = pose / 75
    wide, high = rng.uniform(0.52, 0.62), rng.uniform(0.72, 0.82)
    tone, hair = rng.uniform(110, 200, 3), rng.uniform(20, 90, 3)
    image = np.full((SIZE, SIZE, 3), 120.0)
    head = (x / wide) ** 2 + (y / high) ** 2 < 1
    shade = 0.75 + 0.25 * light - 0.15 * (2 * light - 1) * x
    image[head] = (tone * shade[..., None])[head]
    image[head & (y < -rng.uniform(0.35, 0.5))] = hair
    image[head & (x * np.sign(turn) < -0.15) & (abs(turn) > 0.2)] = hair
    for side in (-1, 1):
        eye = ((x - 0.5 * turn - side * 0.22) / 0.09) ** 2 + ((y + 0.15) / 0.06) ** 2 < 1
        image[eye] = rng.uniform(0, 60, 3)
    image[(abs(x - 0.6 * turn) < 0.05) & (abs(y - 0.08) < 0.14)] = tone * 0.5
    image[(abs(x - 0.5 * turn) < rng.uniform(0.14, 0.22)) & (abs(y - 0.42) < 0.05)] = (150, 50, 60)
    noise = np.random.default_rng([person, pose + 90, light]).normal(0, 3, image.shape)
    return (image + noise).clip(0, 255).astype(np.uint8).transpose(2, 0, 1)


@pytest.fixture(scope="session")
def clean() -> tuple[pd.DataFrame, np.ndarray]:
    rows = [
        {"key": f"{person:03}_{pose:+03}_{light}", "identity": f"{person:03}", "pose": pose, "light": light}
        for person in range(PEOPLE)
        for pose in POSES
        for light in range(LIGHTS)
    ]
    images = np.stack([face(int(row["identity"]), row["pose"], row["light"]) for row in rows])
    return pd.DataFrame(rows), images


@pytest.fixture
def data(clean):
    """A table and images of one's own, to plant faults in."""
    table, images = clean
    return SimpleNamespace(table=table.copy(), images=images.copy(), skipped=[], stops=False, pairs=PAIRS, split=SPLIT)


def audited(data) -> AuditedData:
    recipe = SimpleNamespace(
        name="planted",
        pairs=PairsModel.model_validate(data.pairs),
        data=SimpleNamespace(split=SplitModel.model_validate(data.split)),
    )
    parts = split_rows(data.table, recipe.data.split, refuse_shared=False)
    return AuditedData(recipe, data.table, data.images, parts, data.skipped, data.stops)


def row(data, person: int, pose: int, light: int = 0) -> int:
    (index,) = np.flatnonzero(data.table["key"] == f"{person:03}_{pose:+03}_{light}")
    return int(index)


def run(data, check: str):
    return CHECKS[check](audited(data))


def pairs_of(finding) -> set[frozenset[int]]:
    return {frozenset((suspect.row, suspect.other)) for suspect in finding.suspects}


@pytest.mark.parametrize("check", CHECKS)
def test_a_check_is_silent_where_nothing_is_wrong(data, check):
    finding = run(data, check)
    assert (finding.check, finding.severity, finding.suspects) == (check, "ok", [])


def test_every_check_says_what_its_severities_are():
    assert all("Severity:" in str(check.__doc__) for check in CHECKS.values())


@pytest.mark.parametrize("check", CHECKS)
def test_images_need_not_be_square(data, check):
    # Each image in a wider frame: what is planted below and nothing else is found.
    data.images = np.pad(data.images, ((0, 0), (0, 0), (0, 0), (16, 32)), mode="edge")
    finding = run(data, check)
    assert finding.check == check
    # A recogniser of photographs takes some drawn people for one.
    assert finding.suspects == [] or check == "same_face"


def test_a_move_in_wide_images_is_reported_with_its_shift(data):
    data.images = np.pad(data.images, ((0, 0), (0, 0), (0, 0), (16, 48)), mode="edge")
    moved = row(data, 3, 30)
    data.images[moved] = np.roll(data.images[moved], (0, 12), (1, 2))
    (suspect,) = run(data, "misaligned").suspects
    assert (suspect.row, suspect.value) == (moved, 12)
    assert "12 px right" in suspect.detail


# ------------------------------------------------------------------ duplicates


def jpeg(image: np.ndarray, quality: int) -> np.ndarray:
    buffer = io.BytesIO()
    Image.fromarray(image.transpose(1, 2, 0)).save(buffer, "JPEG", quality=quality)
    return np.asarray(Image.open(buffer)).transpose(2, 0, 1)


def test_an_identical_image_in_two_splits_is_an_error(data):
    one, other = row(data, 1, 30), row(data, 12, 30)
    data.images[other] = data.images[one]
    (suspect,) = run(data, "duplicates").suspects
    assert {suspect.row, suspect.other} == {one, other}
    assert (suspect.severity, suspect.value) == ("error", 0)
    assert "identical: 001 in train, 012 in test" in suspect.detail


@pytest.mark.parametrize(
    "change",
    [
        lambda image: jpeg(image, 75),
        lambda image: (image * 0.85 + 10).astype(np.uint8),
        lambda image: np.asarray(
            Image.fromarray(image.transpose(1, 2, 0)).resize((48, 48)).resize((SIZE, SIZE))
        ).transpose(2, 0, 1),
    ],
    ids=["jpeg", "darker", "rescaled"],
)
def test_a_changed_copy_is_reported(data, change):
    one, other = row(data, 1, 30), row(data, 12, 30)
    data.images[other] = change(data.images[one])
    assert (data.images[other] != data.images[one]).any()
    (suspect,) = run(data, "duplicates").suspects
    assert {suspect.row, suspect.other} == {one, other}
    assert suspect.severity == "error"
    assert 0 < suspect.value <= 0.06
    assert "nearly identical" in suspect.detail


def test_one_picture_of_two_people_in_one_split_is_a_warning(data):
    one, other = row(data, 1, 30), row(data, 2, 30)
    data.images[other] = jpeg(data.images[one], 90)
    (suspect,) = run(data, "duplicates").suspects
    assert suspect.severity == "warning"
    assert "001 and 002, both in train" in suspect.detail


def test_one_file_under_two_labels_of_one_person_is_a_note(data):
    data.images[row(data, 1, 30)] = data.images[row(data, 1, 60)]
    (suspect,) = run(data, "duplicates").suspects
    assert suspect.severity == "note"


def test_each_of_many_copies_is_reported_once(data):
    copies = [row(data, person, 0) for person in range(PEOPLE)]
    data.images[copies] = data.images[copies[0]]
    suspects = run(data, "duplicates").suspects
    assert {suspect.row for suspect in suspects} | {suspect.other for suspect in suspects} == set(copies)
    assert len(suspects) <= 2 * PEOPLE


def test_blank_images_are_no_duplicates(data):
    data.images[[row(data, 1, 0), row(data, 12, 0)]] = 7
    assert not run(data, "duplicates").suspects


def test_a_row_outside_every_split_is_no_suspect(data):
    data.split = {**SPLIT, "test": 2}
    data.images[row(data, 13, 0)] = data.images[row(data, 1, 0)]
    assert not run(data, "duplicates").suspects


def test_bits_of_zero_still_find_equal_hashes_and_the_option_matters(data):
    rng = np.random.default_rng(0)
    one, other = row(data, 1, 30), row(data, 12, 30)
    data.images[other] = (data.images[one] * 0.9).astype(np.uint8)
    assert len(duplicates(audited(data), 0).suspects) == 1
    hashes = rng.integers(0, 2**63, 2, dtype=np.uint64)
    hashes[1] = hashes[0] ^ np.uint64(0b10010001)
    assert not list(close_pairs(hashes, 2))
    assert [pair.tolist() for pair in close_pairs(hashes, 3)] == [[[0, 1]]]


@pytest.mark.parametrize("most", [0, 1, 4, 9, 16])
def test_close_hashes_are_those_that_comparing_all_with_all_finds(most):
    rng = np.random.default_rng(most)
    hashes = rng.integers(0, 2**64, 60, dtype=np.uint64)
    # Families around each, of every distance that matters.
    bits = np.array(
        [sum(1 << int(bit) for bit in rng.choice(64, rng.integers(0, 12), replace=False)) for _ in range(240)]
    )
    hashes = np.concatenate([hashes, hashes[rng.integers(60, size=240)] ^ bits.astype(np.uint64)])
    distance = np.bitwise_count(hashes[:, None] ^ hashes[None])
    expected = {(int(a), int(b)) for a, b in np.argwhere(np.triu(distance <= most, 1))}
    listed = [tuple(map(int, pair)) for block in close_pairs(hashes, most) for pair in block]
    assert len(listed) == len(set(listed)), "a pair comes twice"
    assert set(listed) == expected


def test_the_difference_does_not_see_brightness_and_sees_another_person(clean):
    _, images = clean
    bright = (images[0] * 0.8 + 20).astype(np.uint8)
    blocks = coarse(np.stack([images[0], bright, images[20]]), np.arange(3))
    same, other = differences(blocks, np.array([[0, 1], [0, 2]]))
    assert same < 0.02
    assert other > 0.2


# ------------------------------------------------------------------ people


def test_a_person_in_two_splits_is_a_leak(data):
    data.split = {"by": "session", "train": ["a"], "test": ["b"]}
    data.table["session"] = np.where(data.table["identity"] < "010", "a", "b")
    assert not run(data, "identity_leak").suspects
    moved = (data.table["identity"] == "003") & (data.table["pose"] == 0)
    data.table.loc[moved, "session"] = "b"
    (suspect,) = run(data, "identity_leak").suspects
    assert suspect.severity == "error"
    assert suspect.detail == "identity 003 is in train and test"
    assert suspect.value == len(POSES) * LIGHTS


def test_a_part_named_twice_is_a_leak_of_all_its_people(data):
    data.split = {"by": "identity", "train": ["000-009"], "test": ["008-013"]}
    assert [suspect.detail[:12] for suspect in run(data, "identity_leak").suspects] == [
        "identity 008",
        "identity 009",
    ]


def drop(data, gone) -> None:
    data.table, data.images = data.table[~gone].reset_index(drop=True), data.images[~gone.to_numpy()]


def test_a_person_without_a_frontal_is_an_error(data):
    drop(data, (data.table["identity"] == "005") & (data.table["pose"] == 0) & (data.table["light"] == 0))
    (suspect,) = run(data, "missing_frontals").suspects
    assert suspect.severity == "error"
    assert suspect.detail == "identity 005 in train: 9 of its 9 sources lack a target (pairs.target)"
    assert suspect.value == 9


def test_some_sources_without_a_target_are_counted(data):
    data.pairs = {"target": {"same": ["identity", "light"], "where": {"pose": 0}}}
    drop(data, (data.table["identity"] == "012") & (data.table["pose"] == 0) & (data.table["light"] == 1))
    (suspect,) = run(data, "missing_frontals").suspects
    assert suspect.detail == "identity 012 in test: 4 of its 9 sources lack a target (pairs.target)"


def test_a_part_without_any_source_is_an_error(data):
    data.pairs = {**PAIRS, "source": {"where": {"pose": 30}}}
    drop(data, (data.table["identity"] >= "010") & (data.table["pose"] == 30))
    (suspect,) = run(data, "missing_frontals").suspects
    assert (suspect.severity, suspect.row) == ("error", None)
    assert "no image of test may be a source" in suspect.detail


def test_a_source_without_a_partner_is_a_note(data):
    drop(data, (data.table["identity"] == "002") & data.table["pose"].isin([-60, 60]))
    data.table.loc[(data.table["identity"] == "002") & (data.table["pose"] == 30), "pose"] = 60
    assert [suspect.severity for suspect in run(data, "missing_frontals").suspects] == ["note"]


# ------------------------------------------------------------------ alignment


def moved(image: np.ndarray, down: int, right: int) -> np.ndarray:
    wide = np.pad(image, ((0, 0), (12, 12), (12, 12)), "edge")
    return wide[:, 12 - down : 12 - down + SIZE, 12 - right : 12 - right + SIZE]


@pytest.mark.parametrize(("down", "right", "direction"), [(12, 0, "12 px down"), (0, -12, "12 px left")])
def test_a_moved_image_is_reported_with_its_shift(data, down, right, direction):
    one = row(data, 3, 30)
    data.images[one] = moved(data.images[one], down, right)
    (suspect,) = run(data, "misaligned").suspects
    assert (suspect.row, suspect.severity) == (one, "warning")
    assert direction in suspect.detail or direction.replace("12", "11") in suspect.detail
    assert "relative to the median of pose=30, light=0" in suspect.detail
    assert suspect.value == pytest.approx(12, abs=1)
    assert data.table["pose"].iloc[suspect.other] == 30, "it is shown beside one that is as it should be"


@pytest.mark.parametrize("size", [32, 96, 160])
def test_shifts_are_in_pixels_of_the_pack(data, size):
    one = row(data, 3, 30)
    data.images[one] = moved(data.images[one], 12, 0)
    data.images = np.stack(
        [np.asarray(Image.fromarray(image.transpose(1, 2, 0)).resize((size, size))) for image in data.images]
    ).transpose(0, 3, 1, 2)
    (suspect,) = run(data, "misaligned").suspects
    assert suspect.row == one
    assert suspect.value == pytest.approx(12 * size / SIZE, abs=3 * size / SIZE)


def test_a_target_swapped_with_its_source_is_reported_on_both_sides(data):
    target, source = row(data, 4, 0), row(data, 4, 60)
    data.images[[target, source]] = data.images[[source, target]]
    suspects = {suspect.row: suspect.detail for suspect in run(data, "misaligned").suspects}
    assert set(suspects) == {target, source}
    assert suspects[target] == "labelled pose=0, light=0, looks swapped with the same person at pose=60, light=0"
    assert suspects[source] == "labelled pose=60, light=0, looks swapped with the same person at pose=0, light=0"


def test_a_yaw_of_the_wrong_sign_is_reported(data):
    one = row(data, 6, -60)
    data.images[one] = data.images[row(data, 6, 60)]
    (suspect,) = run(data, "misaligned").suspects
    assert suspect.row == one
    assert "looks like pose=60" in suspect.detail


def test_pairs_without_labels_are_checked_by_role(data):
    keep = data.table["pose"].isin([0, 60]) & (data.table["light"] == 0)
    drop(data, ~keep)
    data.table["role"] = np.where(data.table["pose"] == 0, "target", "source")
    data.table = data.table.drop(columns=["pose", "light"])
    data.pairs = {
        "source": {"where": {"role": "source"}},
        "target": {"same": ["identity"], "where": {"role": "target"}},
    }
    assert not run(data, "misaligned").suspects
    source, target = np.flatnonzero(data.table["identity"] == "007")
    data.images[[source, target]] = data.images[[target, source]]
    assert {suspect.row for suspect in run(data, "misaligned").suspects} == {source, target}


def test_an_image_without_a_face_is_reported(data):
    one = row(data, 3, 0)
    data.images[one] = np.random.default_rng(0).integers(0, 256, (3, SIZE, SIZE), dtype=np.uint8)
    assert one in {suspect.row for suspect in run(data, "misaligned").suspects}


def test_small_views_are_skipped_with_a_remark(data):
    drop(data, (data.table["pose"] == 60) & (data.table["identity"] > "003"))
    one = row(data, 1, 60)
    data.images[one] = moved(data.images[one], 12, 0)
    finding = run(data, "misaligned")
    assert not finding.suspects
    assert "8 images of views with fewer than 8" in finding.remark
    drop(data, data.table["identity"] > "003")
    data.split = {"train": 2, "test": 2}
    assert "nothing was checked" in run(data, "misaligned").remark


# ------------------------------------------------------------------ exposure, labels, unreadable


@pytest.mark.parametrize(
    ("change", "severity", "fault"),
    [
        (lambda image: np.full_like(image, 40), "error", "blank: one shade of 40"),
        (lambda image: (image * 0.25).astype(np.uint8), "warning", "dark: mean luminance"),
        (lambda image: np.where(np.arange(SIZE) < 24, 255, image).astype(np.uint8), "warning", "are white"),
        (lambda image: np.where(np.arange(SIZE) < 24, 0, image).astype(np.uint8), "warning", "are black"),
    ],
    ids=["blank", "dark", "white", "black"],
)
def test_a_badly_exposed_image_is_reported(data, change, severity, fault):
    one = row(data, 3, 30)
    data.images[one] = change(data.images[one])
    suspects = run(data, "exposure").suspects
    (suspect,) = suspects
    assert (suspect.row, suspect.severity) == (one, severity)
    assert fault in suspect.detail


def test_a_black_backdrop_throughout_is_in_order(data):
    data.images[..., :24] = 0
    assert not run(data, "exposure").suspects


def test_a_value_that_is_only_tested_is_a_warning(data):
    data.table["glasses"] = (data.table["identity"] == "012").astype(int)
    (suspect,) = run(data, "labels").suspects
    assert (suspect.severity, suspect.value) == ("warning", 10)
    assert suspect.detail == "glasses=1 is in test (10 images) and never in train"
    assert data.table["identity"].iloc[suspect.row] == "012"


def test_a_rare_value_is_a_note(data):
    data.table.loc[row(data, 1, 60), "pose"] = 75
    (suspect,) = run(data, "labels").suspects
    assert suspect.severity == "note"
    assert suspect.detail.startswith("pose=75 is on 1 image of train")


def test_the_splits_own_column_and_numbers_are_no_labels(data):
    data.split = {"by": "session", "train": ["a"], "test": ["b"]}
    data.table["session"] = np.where(data.table["identity"] < "010", "a", "b")
    data.table["age"] = np.arange(len(data.table))
    assert not run(data, "labels").suspects


def test_missing_label_values_do_no_harm(data):
    data.table["age"] = np.where(data.table["identity"] == "001", np.nan, 30.0)
    data.table["note"] = ""
    assert run_checks(audited(data)).labels[-1].column == "note"


def test_unreadable_images_are_reported(data):
    data.skipped = ["image 7.png cannot be read"]
    assert run(data, "unreadable").severity == "warning"
    data.stops = True
    finding = run(data, "unreadable")
    assert (finding.severity, finding.suspects[0].detail) == ("error", "image 7.png cannot be read")


# ------------------------------------------------------------------ all together


def test_fail_on_takes_severities_and_checks(data):
    data.table.loc[row(data, 1, 60), "pose"] = 75
    data.images[row(data, 3, 30)] = 40
    whole = run_checks(audited(data))
    assert failing(whole, parse_fail_on("error")) == ["exposure"]
    assert failing(whole, parse_fail_on("note"))[-1] == "labels"
    assert failing(whole, parse_fail_on("labels, duplicates")) == ["labels"]
    assert failing(whole, parse_fail_on("duplicates")) == []


@pytest.mark.parametrize("text", ["eror", "", ",", "error,leak"])
def test_fail_on_refuses_what_it_does_not_know(text):
    with pytest.raises(DataError, match="--fail-on"):
        parse_fail_on(text)


def test_real_photographs_have_no_duplicates_and_few_suspects():
    root = Path(__file__).parents[4] / "shared" / "data" / "frmdb"
    if not root.is_dir():
        pytest.skip("the photographs of FRMDB are not here")
    from enface.recipe.load import load_recipe
    from enface_tools.packs.building import make_pack

    recipes = Path(__file__).parents[3] / "recipes"
    loaded = load_recipe(recipes / "frmdb.yaml", [f"data.root={root}"])
    pack = make_pack(loaded.recipe, loaded.catalog)
    parts = split_rows(pack.table, loaded.recipe.data.split)
    whole = run_checks(AuditedData(loaded.recipe, pack.table, pack.images, parts), faces=60)
    assert [finding.check for finding in whole.findings if finding.suspects] in ([], ["misaligned"])
    (misaligned,) = [finding for finding in whole.findings if finding.check == "misaligned"]
    assert len(misaligned.suspects) < 0.03 * len(pack.table)
