"""Masks of images that are not square."""

from __future__ import annotations

import math
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from PIL import Image

from enface import DataInfo, RecipeError, Targets
from enface_plugins.masks.boundary import near_line
from enface_plugins.masks.boundary_from_landmarks import _cropped
from enface_plugins.masks.boundary_from_regions import BoundaryFromRegions
from enface_plugins.masks.ellipse import Ellipse
from enface_plugins.masks.face_part import FacePart
from enface_plugins.masks.points import Points

TALL = (96, 48)


def test_an_ellipse_has_the_shares_of_height_and_width():
    weights = Ellipse(axes=(0.5, 0.75), center=(0.5, 0.4), falloff=0.0, data=DataInfo(TALL))(0)[0, 0]
    assert weights.shape == TALL
    rows, columns = np.nonzero(weights.numpy())
    assert (rows.min(), rows.max()) == (2, 73), "0.4 -+ 0.375 of 96 rows: pixel centres from 2.4 to 74.4"
    assert (columns.min(), columns.max()) == (12, 35), "0.5 -+ 0.25 of 48 columns: pixel centres from 12 to 36"
    assert weights.mean().item() == pytest.approx(math.pi / 4 * 0.5 * 0.75, rel=0.01)


def test_a_line_is_drawn_by_columns_and_rows():
    marked = near_line(torch.tensor([[1.0, 4.0], [2.0, 4.0]]), (6, 3), 1)
    assert torch.nonzero(marked).tolist() == [[4, 1], [4, 2]]


def test_a_file_of_marked_pixels_has_the_images_shape(tmp_path):
    drawn = np.ones(TALL)
    drawn[80, 10:20] = 5
    np.save(tmp_path / "m.npy", drawn)
    assert torch.equal(Points(file=tmp_path / "m.npy", data=DataInfo(TALL))(0)[0, 0], torch.from_numpy(drawn).float())
    half = Points(file=tmp_path / "m.npy", data=DataInfo((48, 24)))(0)[0, 0]
    assert torch.nonzero(half > 1).tolist() == [[40, column] for column in range(5, 10)]
    with pytest.raises(RecipeError, match=r"m\.npy is 96 x 48, but the images are 48 x 96"):
        Points(file=tmp_path / "m.npy", data=DataInfo((48, 96)))


def test_silhouettes_have_the_images_shape(tmp_path):
    inside = np.zeros(TALL, np.uint8)
    inside[20:60, 10:30] = 255
    Image.fromarray(inside).save(tmp_path / "a.png")
    weights = BoundaryFromRegions(silhouettes=tmp_path, data=DataInfo(TALL))(0)[0, 0]
    rows, columns = np.nonzero(weights.numpy() > 1)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (20, 59, 10, 29)
    with pytest.raises(RecipeError, match=r"a\.png is 96 x 48; crop it to the shape of the images, 96 x 96"):
        BoundaryFromRegions(silhouettes=tmp_path, data=DataInfo((96, 96)))


@pytest.mark.parametrize(
    ("shape", "size", "rows", "columns"),
    [
        ((10, 20), (5, 5), (0, 9), (5, 14)),
        ((20, 10), (6, 12), (7, 11), (0, 9)),
        ((7, 7), (96, 96), (0, 6), (0, 6)),
    ],
)
def test_photographs_are_cropped_to_the_images_shape(shape, size, rows, columns):
    cropped = _cropped(np.indices(shape).transpose(1, 2, 0), size)
    corners = (*cropped[0, 0], *cropped[-1, -1])
    assert corners == (rows[0], columns[0], rows[1], columns[1])


@pytest.mark.skipif(
    find_spec("dlib") is None or find_spec("face_recognition_models") is None,
    reason='dlib or its model is not installed: pip install "enface[landmarks]"',
)
@pytest.mark.parametrize("part", ["face", "eyes", "brows", "mouth"])
def test_a_part_of_a_wide_image_is_that_of_the_square_in_its_middle(part):
    portrait = pytest.importorskip("skimage.data").astronaut()[:256, 96:352]
    small = np.asarray(Image.fromarray(portrait).resize((96, 96), Image.Resampling.LANCZOS)) / np.float32(127.5) - 1
    square = torch.from_numpy(small).permute(2, 0, 1)[None]
    wide = torch.nn.functional.pad(square, (20, 12, 0, 0), mode="replicate")

    def of(image: torch.Tensor, planes: int = 3) -> torch.Tensor:
        targets = Targets(("a",), np.zeros((1, planes, 8, 8), np.uint8), None, ())
        channels = {"source": 3, "target": planes}
        data = DataInfo((image.shape[2], image.shape[3]), {}, lambda count: targets, channels)
        return FacePart(part=part, data=data)(image)

    expected = of(square) > 0
    assert expected.any()
    for weights in (of(wide), of(wide.mean(1, keepdim=True), 1)):
        assert weights.shape == (1, 1, 96, 128)
        inside, outside = weights[..., 20:116] > 0, weights.sum() - weights[..., 20:116].sum()
        assert (inside & expected).sum() / (inside | expected).sum() > 0.6
        assert outside <= 0.1 * weights.sum()
    with pytest.raises(RecipeError, match=r"face_part .* target images have 4 planes"):
        of(wide, 4)
