"""Colour shift: differences computed by hand and by scikit-image, and the effect of the blur."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from skimage.color import deltaE_cie76, rgb2lab

from enface import DataInfo
from enface_plugins.metrics import ColorShift

DATA = DataInfo.square(96)

SIZE = 48


def flat(*colour):
    return torch.tensor(colour)[None, :, None, None].expand(1, 3, SIZE, SIZE).contiguous()


def test_black_and_white_are_100_apart():
    assert ColorShift(data=DATA)(flat(0.0, 0.0, 0.0), flat(1.0, 1.0, 1.0)).item() == pytest.approx(100, abs=1e-3)


@pytest.mark.parametrize(
    ("one", "other"),
    [((0.8, 0.6, 0.5), (0.7, 0.6, 0.6)), ((1.0, 0.0, 0.0), (0.0, 0.0, 1.0)), ((0.1,) * 3, (0.12,) * 3)],
)
def test_differences_are_those_of_scikit_image(one, other):
    first, second = flat(*one), flat(*other)
    expected = deltaE_cie76(*(rgb2lab(image[0, :, 0, 0].numpy()) for image in (first, second)))
    assert ColorShift(data=DATA)(first, second).item() == pytest.approx(expected, rel=2e-3)


def test_fine_detail_does_not_count_and_a_tint_does():
    board = (torch.arange(SIZE)[:, None] + torch.arange(SIZE)) % 2 * 0.1
    grey = flat(0.5, 0.5, 0.5)
    metric = ColorShift(data=DATA)
    assert metric(grey - 0.05 + board, grey).item() < 0.1
    tinted = grey.clone()
    tinted[:, 0] += 0.05
    assert metric(tinted, grey).item() > 3


def test_a_wider_blur_lowers_the_value():
    generator = torch.Generator().manual_seed(0)
    pair = [torch.rand(2, 3, SIZE, SIZE, generator=generator) for _ in range(2)]
    values = [ColorShift(sigma=sigma, data=DATA)(*pair) for sigma in (0.01, 0.04, 0.2, 2.0)]
    assert all((more > less).all() for more, less in pairwise(values))


def test_over_a_region_only_its_own_colours_count():
    grey, output = flat(0.5, 0.5, 0.5), flat(0.5, 0.5, 0.5)
    output[..., SIZE // 2 :] = 0.9
    left = torch.zeros(1, 1, SIZE, SIZE)
    left[..., : SIZE // 4] = 1
    metric = ColorShift(data=DATA)
    assert metric.regional(output, grey, left).item() < 0.01
    assert metric.regional(output, grey, left.flip(-1)).item() == pytest.approx(
        metric(flat(0.9, 0.9, 0.9), grey).item(), rel=1e-3
    )
