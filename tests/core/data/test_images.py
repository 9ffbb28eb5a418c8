"""Images of any shape, planes and depth in a pack: fitted, converted and reported."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image

from enface.data.batches import Batches
from enface.data.images import center_crop, planes_of, to_depth
from enface.data.pack import read_pack
from enface.errors import DataError, RecipeError
from enface_tools.packs.building import make_pack
from enface_tools.packs.image_format import ImageFormat

CPU = torch.device("cpu")


def stripes(height, *colours):
    """Vertical stripes as wide as they are tall."""
    image = np.zeros((height, height * len(colours), 3), np.uint8)
    for place, colour in enumerate(colours):
        image[:, height * place : height * (place + 1)] = colour
    return image


RGB = stripes(16, (200, 0, 0), (0, 200, 0), (0, 0, 200))

# ------------------------------------------------------------------ fitting


def test_crop_keeps_the_largest_centred_rectangle():
    form = ImageFormat((16, 16), fit="crop")
    assert (form.image(RGB) == [0, 200, 0]).all()
    assert form.lost((16, 48)) == pytest.approx(2 / 3)
    # 30 x 30 for a shape of 2 : 3 is 20 x 30, from row 5 on.
    image = np.random.default_rng(0).integers(0, 256, (30, 30, 3), np.uint8)
    np.testing.assert_array_equal(ImageFormat((20, 30)).image(image), image[5:25])
    assert ImageFormat((20, 30)).lost((30, 30)) == pytest.approx(1 / 3)


def test_pad_keeps_the_whole_image_on_the_stated_grey():
    form = ImageFormat((48, 48), fit="pad", fill=0.5)
    padded = form.image(RGB)
    np.testing.assert_array_equal(padded[16:32], RGB)
    assert (padded[:16] == 128).all()
    assert (padded[32:] == 128).all()
    assert form.lost((16, 48)) == pytest.approx(2 / 3)
    assert (ImageFormat((48, 48), depth=16, fit="pad", fill=1).image(RGB)[:16] == 65535).all()


def test_stretch_ignores_the_shape():
    form = ImageFormat((48, 48), fit="stretch")
    stretched = form.image(RGB)
    assert (stretched[:, 4] == [200, 0, 0]).all()
    assert (stretched[:, 44] == [0, 0, 200]).all()
    assert form.lost((16, 48)) == pytest.approx(2 / 3)


@pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
def test_an_image_of_the_wanted_shape_is_only_resized(fit):
    image = np.random.default_rng(0).integers(0, 256, (30, 45, 3), np.uint8)
    expected = np.asarray(Image.fromarray(image).resize((24, 16), Image.Resampling.LANCZOS))
    form = ImageFormat((16, 24), fit=fit)
    np.testing.assert_array_equal(form.image(image), expected)
    assert form.lost((30, 45)) == 0


@pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
@pytest.mark.parametrize("shape", [(7, 30), (30, 7), (1, 300), (300, 1), (31, 30), (16, 16)])
def test_images_of_any_shape_are_fitted_like_their_maps(fit, shape):
    form = ImageFormat((16, 24), fit=fit)
    assert form.image(np.zeros((*shape, 3), np.uint8)).shape == (16, 24, 3)
    assert form.regions(np.zeros(shape, np.uint8)).shape == (16, 24)
    assert 0 <= form.lost(shape) < 1


@pytest.mark.parametrize(("fit", "middle"), [("crop", 2), ("pad", 2), ("stretch", 2)])
def test_region_maps_follow_their_image(fit, middle):
    regions = np.repeat(np.repeat([[1, 2, 3]], 16, axis=0), 16, axis=1).astype(np.uint8)
    fitted = ImageFormat((48, 48), fit=fit, fill=1).regions(regions)
    assert fitted[24, 24] == middle
    # Padding is background, whatever its colour is.
    assert fitted[0, 0] == {"crop": 2, "pad": 0, "stretch": 1}[fit]
    assert ImageFormat((8, 12)).regions(None).shape == (8, 12)


def test_sixteen_bits_are_resized_without_losing_any():
    ramp = np.linspace(0, 65535, 64).astype(np.uint16)[None, :, None].repeat(64, 0)
    small = ImageFormat((16, 16), (1,), depth=16).image(ramp)
    # Inner pixels of a linear ramp are the means of the four that they cover.
    np.testing.assert_allclose(small[8, 3:-3, 0], ramp[0, :, 0].reshape(16, 4).mean(1)[3:-3], atol=2)
    assert len(np.unique(small)) == 16
    assert (small % 257 != 0).any(), "8 bits would be multiples of 257"


# ------------------------------------------------------------------ planes and depth


def test_one_plane_of_three_is_the_luma_of_pillow_and_itu_r_601():
    image = np.random.default_rng(0).integers(0, 256, (9, 7, 3), np.uint8)
    luma = planes_of(image.transpose(2, 0, 1), 1)
    np.testing.assert_array_equal(luma[0], np.asarray(Image.fromarray(image).convert("L")))
    np.testing.assert_allclose(luma[0], image @ np.array([0.299, 0.587, 0.114]), atol=0.51)
    wide = planes_of(torch.full((2, 3, 4, 4), 65535, dtype=torch.uint16), 1)
    assert wide.shape == (2, 1, 4, 4)
    assert wide.dtype == torch.uint16
    assert (wide.long() == 65535).all()


def test_further_planes_of_several_images_are_zeros():
    image = np.arange(2 * 2 * 4, dtype=np.uint16).reshape(2, 2, 2, 2)
    wider = planes_of(image, 4)
    assert wider.dtype == np.uint16
    np.testing.assert_array_equal(wider[:, :2], image)
    assert wider.shape == (2, 4, 2, 2)
    assert not wider[:, 2:].any()


def test_other_planes_are_the_first_ones():
    image = np.arange(6 * 4, dtype=np.uint8).reshape(6, 2, 2)
    np.testing.assert_array_equal(planes_of(image, 3), image[:3])
    np.testing.assert_array_equal(planes_of(image, 1), image[:1])
    np.testing.assert_array_equal(planes_of(image[:1], 3), image[[0, 0, 0]])
    filled = planes_of(image[:3], 5)
    np.testing.assert_array_equal(filled[:3], image[:3])
    assert (filled[3:] == 0).all()


def test_depth_is_rounded_to_the_nearest():
    values = np.array([0, 128, 129, 25700, 65535], np.uint16)
    assert to_depth(values, 8).tolist() == [0, 0, 1, 100, 255]
    assert to_depth(np.array([0, 1, 100, 255], np.uint8), 16).tolist() == [0, 257, 25700, 65535]


@pytest.mark.parametrize(
    "image", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3), np.float32), np.zeros((4, 4, 4), np.uint8)]
)
def test_other_arrays_are_refused(image):
    with pytest.raises(DataError, match=r"image me is .*\(H, W, 1 or 3\) is needed"):
        ImageFormat((4, 4), (1, 3)).image(image, "me")


# ------------------------------------------------------------------ packs

WIDE = """
import numpy as np
class Wide(Dataset):
    '''Sources of one plane, or targets of three; some are not of the wanted shape.'''
    pairs = {"source": {"where": {"role": "source"}}, "target": {"same": ["identity"], "where": {"role": "target"}}}
    region_names = ("background", "face")
    def rows(self):
        return [{"key": f"{role}{n}", "identity": n, "role": role} for n in range(4) for role in ("source", "target")]
    def image(self, row):
        planes = self.channels[row["role"]]
        wide = {0: 24, 1: 32, 2: 48}.get(int(row["identity"]), 24)
        rng = np.random.default_rng(int(row["identity"]))
        return rng.integers(0, 2**self.depth, (16, wide, planes), np.uint8 if self.depth == 8 else np.uint16)
    def regions(self, row):
        return np.ones((16, 24), np.uint8)
"""
DATA = {"use": "wide", "size": [16, 24], "split": {"train": 2, "val": 1}}


@pytest.fixture
def wide(load, plugin):
    def pack(**data):
        loaded = load({"plugins": [plugin(WIDE, brings="Wide")], "data": {**DATA, **data}})
        return make_pack(loaded.recipe, loaded.catalog)

    return pack


def test_a_pack_says_how_many_images_were_fitted_and_how_much(wide):
    pack = wide()
    assert (pack.size, pack.images.shape) == ((16, 24), (8, 3, 16, 24))
    # People 1 and 2 of two images each: 32 and 48 pixels wide, of which 24 are kept.
    about = json.loads((pack.folder / "pack.json").read_text())
    assert about["fit"] == "crop"
    assert about["fitted"]["images"] == 4
    assert about["fitted"]["mean"] == pytest.approx((1 / 4 + 1 / 2) / 2)
    assert about["fitted"]["largest"] == pytest.approx(1 / 2)
    assert pack.info.fit_report == ("4 of 8 images were cropped, by 37.5% on average, 50.0% at most")
    assert sorted(path.name for path in pack.folder.iterdir()) == [
        *("images.npy", "pack.json", "regions.npy", "table.csv")
    ]


def test_fits_have_their_own_packs(wide):
    packs = [wide(fit=fit) for fit in ("crop", "pad", "stretch")]
    assert len({pack.folder for pack in packs}) == 3
    assert [pack.info.fit_report.split(",")[0] for pack in packs] == [
        f"4 of 8 images were {done}" for done in ("cropped", "padded", "stretched")
    ]
    assert packs[1].regions[0].all(), "its map has the wanted shape"


def test_nothing_is_said_of_images_of_the_wanted_shape(load):
    pack = make_pack(*(lambda loaded: (loaded.recipe, loaded.catalog))(load()))
    assert pack.info.fitted.images == 0
    assert pack.info.fit_report == ""


def test_roles_have_their_planes(wide):
    """Sources of one plane are kept as three equal ones, whose luma is the plane."""
    pack = wide(channels={"source": 1, "target": 3})
    assert pack.info.channels == 3
    columns = Batches(pack, ("source", "target"), CPU, (16, 24), channels={"source": 1, "target": 3})
    rows = {"source": np.array([0, 6]), "target": np.array([1, 7])}
    source, target = (columns.gather(role, rows) for role in ("source", "target"))
    assert source.shape == (2, 1, 16, 24)
    assert target.shape == (2, 3, 16, 24)
    for index, person in enumerate((0, 3)):
        given = np.random.default_rng(person).integers(0, 256, (16, 24, 1), np.uint8)
        np.testing.assert_allclose(source[index, 0].numpy(), given[..., 0] / 127.5 - 1, atol=1e-6)
    given = np.random.default_rng(0).integers(0, 256, (16, 24, 3), np.uint8)
    np.testing.assert_allclose(target[0].numpy(), given.transpose(2, 0, 1) / 127.5 - 1, atol=1e-6)


def test_many_planes_stand_beside_three(wide):
    pack = wide(channels={"source": 5, "target": 3})
    columns = Batches(pack, ("source", "target"), CPU, (16, 24), channels={"source": 5, "target": 3})
    rows = {"source": np.array([0]), "target": np.array([1])}
    assert columns.gather("source", rows).shape == (1, 5, 16, 24)
    given = np.random.default_rng(0).integers(0, 256, (16, 24, 3), np.uint8).transpose(2, 0, 1)
    np.testing.assert_allclose(columns.gather("target", rows)[0].numpy(), given / 127.5 - 1, atol=1e-6)


def test_a_pack_of_sixteen_bits_keeps_them(wide):
    pack = wide(depth=16)
    assert pack.images.dtype == np.uint16
    assert read_pack(pack.folder).info.depth == 16
    columns = Batches(pack, ("source", "target"), CPU, (16, 24))
    rows = {"source": np.array([0]), "target": np.array([1])}
    given = np.random.default_rng(0).integers(0, 65536, (16, 24, 3), np.uint16).transpose(2, 0, 1)
    image = columns.gather("source", rows)[0].numpy()
    np.testing.assert_allclose(image, given / 32767.5 - 1, atol=1e-6)
    assert np.abs(image - (np.round(given / 257) / 127.5 - 1)).max() > 1e-3, "8 bits would be as good"


def test_batches_are_cropped_to_their_shape(wide):
    pack = wide(size=[8, 16], load_size=[16, 24])
    columns = Batches(pack, ("source",), CPU, (8, 16))
    image = columns.gather("source", {"source": np.array([0])})
    given = np.random.default_rng(0).integers(0, 256, (16, 24, 3), np.uint8).transpose(2, 0, 1)
    np.testing.assert_allclose(image[0].numpy(), given[:, 4:12, 4:20] / 127.5 - 1, atol=1e-6)
    np.testing.assert_array_equal(center_crop(given, (8, 16)), given[:, 4:12, 4:20])


# ------------------------------------------------------------------ recipes


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"size": 7}, "greater than or equal to 8"),
        ({"size": [16, 7]}, "greater than or equal to 8"),
        ({"size": [16]}, "size"),
        ({"size": [64, 32], "load_size": 40}, r"load_size 40 is smaller than size \(64, 32\)"),
        ({"size": [64, 32], "load_size": [64, 31]}, "is smaller than"),
        ({"fit": "squeeze"}, "fit"),
        ({"depth": 12}, "depth"),
        ({"channels": {"source": 0}}, "channels.source"),
        ({"channels": {"partner": 1}}, "channels.partner"),
        ({"fill": 2}, "fill"),
    ],
)
def test_mistakes_are_reported_once_at_their_key(load, data, message):
    with pytest.raises(RecipeError, match=message) as caught:
        load({"data": data})
    assert str(caught.value).count("data") == 1 + str(caught.value).count("data is"), str(caught.value)


def test_a_pack_of_another_format_is_refused(load, plugin, wide):
    pack = wide()
    body = {"plugins": [plugin(WIDE, brings="Wide")]}

    def opened(**data):
        from enface.data.open_pack import open_pack

        return open_pack(load({**body, "data": {**DATA, "pack": str(pack.folder), **data}}))

    assert opened().size == (16, 24)
    assert opened(channels={"source": 1, "target": 1}).info.channels == 3, "grey is made of three planes"
    for data, message in (
        ({"size": 16}, r"holds images of 16 x 24 px, the recipe requests 16; set data.size to \[16, 24\]"),
        ({"channels": {"source": 4}}, "channels 3"),
        ({"depth": 16}, "depth 8"),
        ({"fit": "pad"}, "fit crop"),
    ):
        with pytest.raises(DataError, match=message):
            opened(**data)
