"""The correspondence between two views of a head: known geometry, and moved pixels that agree."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import map_coordinates

from enface import DataInfo

pytest.importorskip("anny")
pytest.importorskip("embreex")

from enface_plugins.datasets.heads import correspondence as matching
from enface_plugins.datasets.heads.mesh import Mesh
from enface_plugins.datasets.heads.rays import Scene
from enface_plugins.datasets.synthetic_heads import SyntheticHeads

SIZE = 40
AXIS = -5.0
"""Depth of the vertical axis that the cameras move around, at a distance of 130 cm."""


def plates(*corners: tuple[float, float, float, float, float]) -> Mesh:
    """Upright rectangles that face the front, each from left to right and bottom to top at a depth."""
    vertices, faces = [], []
    for left, right, bottom, top, depth in corners:
        first = len(vertices)
        vertices += [(left, bottom, depth), (right, bottom, depth), (right, top, depth), (left, top, depth)]
        faces += [(first, first + 1, first + 2), (first, first + 2, first + 3)]
    points, triangles = np.asarray(vertices, np.float32), np.asarray(faces, np.int32)
    return Mesh(triangles, np.zeros(len(faces), np.uint8), points, Scene(points, triangles))


def between(mesh: Mesh, source: int, target: int = 0, size: int = SIZE):
    return matching.correspondence(mesh, matching.surface(mesh, target, size), source)


def test_a_plate_through_the_axis_turns_as_perspective_says():
    flow, visible = between(plates((-6, 6, -6, 6.4, AXIS)), source=60)
    # A pixel is 2 * 13.9 / 40 cm at the axis. A point x to the person's left is x cos 60 across the camera's image and
    # x sin 60 nearer to it, whose distance is 130; the same point's height, y - 0.2, grows by that nearness alone.
    pixel = 2 * 13.9 / 40
    x, y = (28 - 19.5) * pixel, (19.5 - 14) * pixel
    nearer = 130 / (130 - x * np.sqrt(3) / 2)
    expected = ((x / 2 * nearer - x) / pixel, (y - y * nearer) / pixel)
    assert visible[14, 28]
    np.testing.assert_allclose(flow[:, 14, 28], expected, atol=2e-3)
    assert abs(expected[0]) > 4
    assert abs(expected[1]) > 0.15


def test_the_background_has_no_flow_and_is_not_visible():
    flow, visible = between(plates((-6, 6, -6, 6.4, AXIS)), source=60)
    outside = np.ones((SIZE, SIZE), bool)
    outside[11:29, 11:29] = False
    assert not flow[:, outside].any()
    assert not visible[outside].any()
    assert visible[~outside].all()


def test_what_a_plate_in_front_hides_keeps_its_place_but_is_not_visible():
    # From 45 degrees the camera is 130 / sqrt(2) = 91.92 cm to the person's left and as much in front. Its rays past
    # the edges of the small plate, at (-2, 8) and (2, 8), reach the large one at
    # 91.92 - (91.92 +- 2) * 91.92 / 83.92: -10.95 and -6.57.
    mesh = plates((-12, 12, -12, 12, AXIS), (-2, 2, -3, 3, AXIS + 8))
    alone = plates((-12, 12, -12, 12, AXIS))
    flow, visible = between(mesh, source=45)
    x = (np.arange(SIZE) - 19.5) * 2 * 13.9 / SIZE
    behind = (x > -10.95) & (x < -6.57)
    np.testing.assert_array_equal(visible[20, abs(x) < 12], ~behind[abs(x) < 12])
    assert behind.sum() == 7
    np.testing.assert_array_equal(flow[:, 20, behind], between(alone, source=45)[0][:, 20, behind])


def test_a_camera_behind_a_single_sheet_sees_none_of_its_front():
    flow, visible = between(plates((-6, 6, -6, 6.4, AXIS)), source=180)
    assert not visible.any()
    # From behind, left and right are swapped.
    np.testing.assert_allclose(flow[0, 20, 28], -2 * (28 - 19.5), atol=1e-2)


def test_places_outside_the_source_are_not_visible():
    # 20 cm in front of the axis: from 60 degrees on the person's left it is 17 cm left of the middle, and 14 are shown.
    flow, visible = between(plates((-3, 3, -3, 3, AXIS + 20)), source=60)
    assert abs(flow[:, 20, 20]).max() > 20
    assert not visible.any()


@pytest.fixture(scope="module")
def heads() -> SyntheticHeads:
    return SyntheticHeads(identities=12, lights=4, data=DataInfo.square(64))


def row(identity: int = 0, pose: int = 0, light: int = 0) -> dict[str, object]:
    return {"identity": f"{identity:04d}", "pose": pose, "light": light}


def test_a_view_corresponds_to_itself(heads):
    flow, visible = heads.correspondence(row(), row())
    assert (flow.shape, flow.dtype, visible.shape, visible.dtype) == ((2, 64, 64), np.float16, (64, 64), np.bool_)
    np.testing.assert_allclose(flow, 0, atol=1e-5)
    shown = heads.regions(row()) > 0
    assert (visible == shown).mean() > 0.97


@pytest.mark.parametrize("pose", [-60, -30, 15, 45])
@pytest.mark.parametrize("identity", [0, 3, 4])
def test_moved_pixels_agree_where_they_are_visible_and_not_where_they_are_hidden(heads, identity, pose):
    """Under room light alone, which hardly depends on the pose, a point has one colour in all views."""
    source, target = (heads.image(row(identity, item)).astype(float) for item in (pose, 0))
    flow, visible = heads.correspondence(row(identity, pose), row(identity))
    down, across = np.mgrid[:64, :64]
    places = (down + flow[1].astype(float), across + flow[0].astype(float))
    moved = np.stack([map_coordinates(source[..., k], places, order=1, mode="nearest") for k in range(3)], -1)
    error = np.abs(moved - target).mean(-1)
    hidden = (heads.regions(row(identity)) > 0) & ~visible
    assert error[visible].mean() < 8
    assert error[visible].mean() < 0.5 * np.abs(source - target).mean(-1)[visible].mean()
    assert error[hidden].mean() > 2 * error[visible].mean()
    assert 0.2 < visible.mean() < 0.6


def test_light_does_not_matter_and_two_people_have_no_correspondence(heads):
    first, second = (heads.correspondence(row(1, 30, light), row(1, 0, 7)) for light in (0, 7))
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one, other)
    assert heads.correspondence(row(1, 30), row(2, 0)) is None


def test_the_columns_of_a_batch_move_the_source_onto_the_target(tmp_path, monkeypatch):
    """Under crops, shifts and flips of both images, sampling by the flow agrees as well as without any."""
    from enface.data.augment import CropFlip
    from enface.recipe.load import load_mapping
    from enface.training.prepare import prepare_run

    monkeypatch.setenv("ENFACE_CACHE", str(tmp_path))
    data = {"identities": 2, "lights": 1, "size": [48, 40], "load_size": [56, 48]}
    split = {"by": "identity", "train": 1, "val": 0}
    run = prepare_run(
        load_mapping(
            {
                "data": {"use": "synthetic_heads", **data, "split": split},
                "pairs": {"target": {"same": ["identity"], "where": {"pose": 0}}},
                "generator": {"use": "unet"},
                "stages": {"main": {"steps": 1, "terms": {"l1": {}}}},
            }
        )
    )
    columns, poses = run.batches(("source", "target")), run.pack.table["pose"].to_numpy()
    sources = np.flatnonzero(abs(poses) == 30)
    rows = {"source": sources, "target": np.repeat(np.flatnonzero(poses == 0), 2)}
    rng = np.random.default_rng(0)

    def errors(crops) -> tuple[float, float]:
        source, target, flow, visible = (
            columns.gather(name, rows, crops).numpy() for name in ("source", "target", "source_flow", "source_visible")
        )
        down, across = np.mgrid[: source.shape[2], : source.shape[3]]
        moved = np.stack(
            [
                [map_coordinates(plane, (down + way[1], across + way[0]), order=1, mode="nearest") for plane in image]
                for image, way in zip(source, flow, strict=True)
            ]
        )
        seen = np.broadcast_to(visible > 0, moved.shape)
        assert 0.3 < visible.mean() < 0.8
        return abs(moved - target)[seen].mean(), abs(source - target)[seen].mean()

    plain, before = errors(None)
    assert plain < 0.08
    assert before > 2 * plain
    for seed in range(3):
        draws = [rng.integers(-3, 11, size=(2, 4)) for _ in range(2)]
        crops = {
            name: CropFlip(top, left, np.arange(4) % 2 == (seed + number) % 2)
            for number, (name, (top, left)) in enumerate(zip(("source", "target"), draws, strict=True))
        }
        moved, before = errors(crops)
        assert moved < 1.3 * plain
        assert before > 2 * moved
