"""The geometry of boundaries, computed by hand, and the mask from region maps and silhouettes."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from PIL import Image

from enface import DataError, DataInfo, RecipeError, Targets
from enface_plugins.masks.boundary import band, distances, near_line, soften, spread
from enface_plugins.masks.boundary_from_regions import BoundaryFromRegions

NAMES = ("background", "skin", "hair")


def flags(*lines: str) -> torch.Tensor:
    return torch.tensor([[letter == "#" for letter in line] for line in lines])


def drawn(marked: torch.Tensor) -> list[str]:
    return ["".join("#" if item else "." for item in row) for row in marked.tolist()]


SQUARE = flags(".......", ".......", "..###..", "..###..", "..###..", ".......", ".......")


# ------------------------------------------------------------------ geometry


def test_a_band_of_one_pixel_is_the_sets_own_rim():
    assert drawn(band(SQUARE[None], 1)) == [
        ".......",
        ".......",
        "..###..",
        "..#.#..",
        "..###..",
        ".......",
        ".......",
    ]


def test_a_band_of_two_pixels_has_one_on_each_side_of_the_edge():
    assert drawn(band(SQUARE[None], 2)) == [
        ".......",
        ".#####.",
        ".#####.",
        ".##.##.",
        ".#####.",
        ".#####.",
        ".......",
    ]


@pytest.mark.parametrize(("width", "inside", "outside"), [(1, 1, 0), (2, 1, 1), (3, 2, 1), (4, 2, 2), (5, 3, 2)])
def test_a_band_along_a_straight_edge_has_the_given_width(width, inside, outside):
    half = torch.zeros(1, 12, 12, dtype=torch.bool)
    half[:, :, :6] = True
    expected = torch.zeros(12, 12, dtype=torch.bool)
    expected[:, 6 - inside : 6 + outside] = True
    # The set reaches the image border on three sides, none of which is an edge.
    assert torch.equal(band(half, width), expected)


def test_bands_of_several_faces_are_joined():
    low = SQUARE.roll((1, -1), (0, 1))
    assert drawn(band(torch.stack([SQUARE, low]), 1)) == [
        ".......",
        ".......",
        "..###..",
        ".####..",
        ".####..",
        ".###...",
        ".......",
    ]
    apart = torch.stack([SQUARE, low])
    assert torch.equal(band(apart, 1), band(apart[:1], 1) | band(apart[1:], 1))


def test_a_full_image_has_no_edge():
    assert not band(torch.ones(1, 5, 5, dtype=torch.bool), 3).any()


def test_a_line_between_pixel_centres_marks_these_pixels():
    points = torch.tensor([[1.0, 1.0], [4.0, 1.0], [4.0, 3.0]])
    assert drawn(near_line(points, (6, 6), 1)) == ["......", ".####.", "....#.", "....#.", "......", "......"]


def test_a_line_three_pixels_wide_has_one_on_each_side():
    points = torch.tensor([[-5.0, 2.0], [20.0, 2.0]])
    assert drawn(near_line(points, (5, 5), 3)) == [".....", "#####", "#####", "#####", "....."]


def test_a_slanted_line_has_no_gaps():
    marked = near_line(torch.tensor([[0.3, 1.2], [30.7, 17.9]]), (32, 32), 1)
    columns = marked[:, 1:30].any(dim=0)
    assert columns.all()
    rows = [torch.nonzero(marked[:, column])[:, 0] for column in range(1, 30)]
    assert all(int(after.min()) - int(before.max()) <= 1 for before, after in pairwise(rows))


def test_distances_are_the_nearest_of_all():
    rng = np.random.default_rng(0)
    marked = torch.from_numpy(rng.random((9, 13)) < 0.1)
    at = torch.stack(torch.meshgrid(torch.arange(9), torch.arange(13), indexing="ij"), -1).double()
    expected = torch.cdist(at.reshape(-1, 2), at[marked]).amin(1).reshape(9, 13)
    torch.testing.assert_close(distances(marked), expected)


def test_without_falloff_the_edge_is_hard():
    assert torch.equal(soften(SQUARE, 0)[0, 0], SQUARE.float())


def test_falloff_follows_its_formula():
    marked = torch.zeros(3, 12, dtype=torch.bool)
    marked[:, 2] = True
    row = soften(marked, 3)[0, 0, 1]
    t = torch.tensor([1.0, 0.75, 0.5, 0.25, 0.0, 0.0])
    torch.testing.assert_close(row[2:8], 3 * t**2 - 2 * t**3)
    assert (row[2:].diff() <= 0).all()
    torch.testing.assert_close(row[:3].flip(0), row[2:5])


def test_names_are_spread_evenly():
    assert spread(list("abcdefghi"), 3) == ["a", "e", "i"]
    assert spread(["a", "b"], 20) == ["a", "b"]
    assert spread(["a", "b"], 1) == ["a"]


# ------------------------------------------------------------------ from region maps


def data(regions: np.ndarray | None, size: int = 7) -> DataInfo:
    count = 1 if regions is None else len(regions)

    def targets(wanted: int) -> Targets:
        chosen = None if regions is None else regions[:wanted]
        images = np.zeros((min(wanted, count), 3, size, size), np.uint8)
        return Targets(tuple(map(str, range(len(images)))), images, chosen, () if regions is None else NAMES)

    return DataInfo.square(size, targets=targets)


@pytest.fixture
def head() -> np.ndarray:
    """Two heads: skin in the middle and two rows of hair above it; the second is one pixel further right."""
    regions = np.zeros((2, 7, 7), np.uint8)
    regions[0, 3:6, 2:5], regions[0, 1:3, 2:5] = 1, 2
    regions[1] = np.roll(regions[0], 1, axis=1)
    return regions


def test_by_default_the_boundary_is_the_outline_of_all_but_the_background(head):
    weights = BoundaryFromRegions(faces=1, width=1, data=data(head))(0)
    assert weights.shape == (1, 1, 7, 7)
    assert drawn(weights[0, 0] == 5) == [
        ".......",
        "..###..",
        "..#.#..",
        "..#.#..",
        "..#.#..",
        "..###..",
        ".......",
    ]
    assert set(weights.unique().tolist()) == {1.0, 5.0}


def test_named_regions_alone_make_up_the_face(head):
    weights = BoundaryFromRegions(regions=("skin",), faces=1, width=1, data=data(head))(0)
    assert drawn(weights[0, 0] == 5)[1:6] == [".......", ".......", "..###..", "..#.#..", "..###.."]


def test_marks_are_accumulated_over_the_faces(head):
    one, two = (BoundaryFromRegions(faces=1, width=1, data=data(head[index:]))(0) for index in range(2))
    both = BoundaryFromRegions(faces=2, width=1, data=data(head))(0)
    assert torch.equal(both, torch.maximum(one, two))
    assert not torch.equal(both, one)


def test_the_default_width_is_one_pixel(head):
    assert torch.equal(BoundaryFromRegions(data=data(head))(0), BoundaryFromRegions(width=1, data=data(head))(0))


def test_falloff_and_strengths_are_the_recipes(head):
    soft = BoundaryFromRegions(faces=1, width=1, falloff=2.0, inside=3.0, outside=0.5, data=data(head))(0)[0, 0]
    hard = BoundaryFromRegions(faces=1, width=1, data=data(head))(0)[0, 0]
    assert (soft[hard == 5] == 3).all()
    assert ((soft[hard == 1] < 3) & (soft[hard == 1] >= 0.5)).all()
    assert 0.5 < soft[3, 1] < 3
    assert soft[3, 0] < soft[3, 1]


def test_it_is_deterministic_and_not_part_of_a_checkpoint(head):
    mask = BoundaryFromRegions(data=data(head))
    assert torch.equal(mask(0), BoundaryFromRegions(data=data(head))(1))
    assert not mask.state_dict()


def test_an_unknown_region_is_refused_with_the_known_ones(head):
    with pytest.raises(RecipeError, match="no region is called 'skn'; known: background, skin, hair"):
        BoundaryFromRegions(regions=("skin", "skn"), data=data(head))


def test_data_without_region_maps_is_refused_with_a_remedy():
    with pytest.raises(RecipeError, match=r"no region maps; give 'silhouettes'.*boundary_from_landmarks"):
        BoundaryFromRegions(data=data(None))


def test_faces_without_an_edge_are_refused():
    with pytest.raises(RecipeError, match="marks no pixel: no face has an edge"):
        BoundaryFromRegions(data=data(np.ones((2, 7, 7), np.uint8)))


def test_a_band_over_everything_is_refused(head):
    with pytest.raises(RecipeError, match="marks every pixel; take a smaller 'width'"):
        BoundaryFromRegions(width=15, data=data(head))


def test_unknown_training_pairs_are_reported():
    with pytest.raises(DataError, match="not available here"):
        BoundaryFromRegions(data=DataInfo.square(7))


# ------------------------------------------------------------------ from silhouettes


def save(values: np.ndarray, path, mode: str = "L") -> None:
    Image.fromarray(values.astype(np.uint8), mode).save(path)


def test_silhouettes_mark_the_same_pixels_as_region_maps(tmp_path, head):
    for index, regions in enumerate(head):
        save((regions > 0) * 255, tmp_path / f"{index}.png")
    weights = BoundaryFromRegions(silhouettes=tmp_path, data=data(None))(0)
    assert torch.equal(weights, BoundaryFromRegions(data=data(head))(0))


def test_opaque_pixels_of_transparent_images_are_inside(tmp_path, head):
    inside = head[0] > 0
    pixels = np.zeros((7, 7, 4), np.uint8)
    pixels[..., 3] = np.where(inside, 200, 20)
    pixels[..., :3] = np.where(inside, 0, 255)[..., None]
    save(pixels, tmp_path / "cut.png", "RGBA")
    weights = BoundaryFromRegions(silhouettes=tmp_path, data=data(None))(0)
    assert torch.equal(weights, BoundaryFromRegions(faces=1, data=data(head))(0))


def test_an_alpha_channel_that_is_opaque_everywhere_is_ignored(tmp_path, head):
    pixels = np.full((7, 7, 4), 255, np.uint8)
    pixels[..., :3] = ((head[0] > 0) * 255)[..., None]
    save(pixels, tmp_path / "opaque.png", "RGBA")
    weights = BoundaryFromRegions(silhouettes=tmp_path, data=data(None))(0)
    assert torch.equal(weights, BoundaryFromRegions(faces=1, data=data(head))(0))


def test_silhouettes_of_another_size_are_resized(tmp_path, head):
    save(((head[0] > 0) * 255).repeat(3, 0).repeat(3, 1), tmp_path / "large.png")
    weights = BoundaryFromRegions(silhouettes=tmp_path, data=data(None))(0)
    assert torch.equal(weights, BoundaryFromRegions(faces=1, data=data(head))(0))


def test_unusable_silhouettes_are_refused_by_name(tmp_path, head):
    save(np.zeros((4, 6)), tmp_path / "wide.png")
    with pytest.raises(RecipeError, match=r"wide\.png is 4 x 6; crop it to the shape of the images"):
        BoundaryFromRegions(silhouettes=tmp_path, data=data(None))
    (tmp_path / "wide.png").write_text("no picture")
    with pytest.raises(RecipeError, match=r"wide\.png cannot be read"):
        BoundaryFromRegions(silhouettes=tmp_path, data=data(None))
    (tmp_path / "wide.png").unlink()
    with pytest.raises(DataError, match="holds no image"):
        BoundaryFromRegions(silhouettes=tmp_path, data=data(None))
    with pytest.raises(RecipeError, match=r"'silhouettes' .*none is not a folder"):
        BoundaryFromRegions(silhouettes=tmp_path / "none", data=data(None))
    with pytest.raises(RecipeError, match="not both"):
        BoundaryFromRegions(silhouettes=tmp_path, regions=("skin",), data=data(head))
