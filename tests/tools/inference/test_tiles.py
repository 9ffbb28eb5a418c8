"""Networks at an image's own size: mirrored to a multiple, or in tiles that equal the whole."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from enface.errors import EnfaceError
from enface_tools.inference.tiles import Tiling, mirrored

IMAGE = torch.rand(1, 3, 75, 122, generator=torch.Generator().manual_seed(0))


def local_network(radius=3, planes=2):
    """Three convolutions, which see ``radius`` pixels around each, after padding by zeros."""
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 5, 3, padding=1), nn.Tanh(), nn.Conv2d(5, 5, 3, padding=1), nn.Tanh()]
    return nn.Sequential(*layers, nn.Conv2d(5, planes, 3, padding=1)).requires_grad_(False)


def test_images_are_mirrored_at_the_right_and_bottom_edges():
    image = torch.arange(15.0).reshape(1, 1, 3, 5)
    padded = mirrored(image, 4)
    assert padded.shape == (1, 1, 4, 8)
    assert padded[0, 0, 0].tolist() == [0, 1, 2, 3, 4, 3, 2, 1]
    assert padded[0, 0, 3].tolist() == padded[0, 0, 1].tolist()
    assert mirrored(image, 1) is image


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (2, 3), (33, 5)])
def test_images_smaller_than_the_multiple_are_mirrored_repeatedly(shape):
    padded = mirrored(torch.rand(1, 3, *shape), 32)
    assert all(side % 32 == 0 for side in padded.shape[-2:])
    assert padded.min() > 0, "no edge of zeros"


def test_the_network_sees_multiples_and_the_output_has_the_images_size():
    seen = []

    def network(source):
        seen.append(tuple(source.shape))
        return source * 2

    output = Tiling(16)(network, IMAGE)
    assert seen == [(1, 3, 80, 128)]
    assert torch.equal(output, IMAGE * 2)


@pytest.mark.parametrize(("tile", "overlap"), [(48, 16), (64, 16), (32, 12), (64, 28)])
def test_tiles_of_a_local_network_equal_the_whole(tile, overlap):
    """A network that sees no further than the dropped quarter of an overlap gives the same output, seams included."""
    network = local_network()
    assert overlap // 4 >= 3
    whole = Tiling(4)(network, IMAGE)
    tiled = Tiling(4, tile, overlap)(network, IMAGE)
    assert tiled.shape == (1, 2, 75, 122)
    assert (tiled - whole).abs().max() < 1e-5


def test_without_an_overlap_there_are_seams():
    network = local_network()
    difference = (Tiling(4, 32, 0)(network, IMAGE) - Tiling(4)(network, IMAGE)).abs()
    assert difference[..., 30:34].max() > 1e-2
    assert difference[..., 8:24, 8:24].max() < 1e-5, "the interior of a tile is exact"


def test_tiles_cover_everything_and_start_at_multiples():
    starts = []

    def network(source):
        starts.append(source[0, 0, 0, 0].item())
        return source

    columns = torch.arange(200.0).expand(1, 1, 40, 200)
    assert torch.allclose(Tiling(8, 64, 16)(network, columns), columns, atol=1e-3)
    assert all(start % 8 == 0 for start in starts)
    assert len(starts) == 4, "at 0, 48, 96 and 136"


@pytest.mark.parametrize(
    ("tile", "overlap", "message"),
    [
        (50, 16, "--tile 50: this network needs a multiple of 16"),
        (64, 20, "--overlap 20: this network needs a multiple of 16"),
        (32, 16, "--tile 32 must be more than twice --overlap 16"),
    ],
)
def test_tiles_that_do_not_fit_are_refused(tile, overlap, message):
    with pytest.raises(EnfaceError, match=message):
        Tiling(16, tile, overlap)
