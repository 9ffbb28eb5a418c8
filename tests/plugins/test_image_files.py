"""Image files of every mode: read with the planes and bits that are requested, or refused with the mode named."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from PIL import Image

from enface import DataError, read_image, write_image

SHAPE = (6, 7)
RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, SHAPE, np.uint8)
COLOUR = RNG.integers(0, 256, (*SHAPE, 3), np.uint8)
DEEP = RNG.integers(0, 65536, (*SHAPE, 3), np.uint16)
ALPHA = RNG.integers(0, 256, (*SHAPE, 1), np.uint8)


def luma(colour):
    """ITU-R BT.601."""
    return colour @ np.array([0.299, 0.587, 0.114])


def over_black(colour, alpha, levels):
    return colour * (alpha / levels)


@pytest.fixture
def tifffile():
    pytest.importorskip("imagecodecs")
    return pytest.importorskip("tifffile")


@pytest.fixture
def png(tmp_path):
    """Write a PNG file of 16 bits, which Pillow can do for grey only."""
    codecs = pytest.importorskip("imagecodecs")

    def write(samples):
        (tmp_path / "1.png").write_bytes(codecs.png_encode(samples))
        return tmp_path / "1.png"

    return write


def saved(path, pixels, **options):
    Image.fromarray(pixels).save(path, **options)
    return path


# ------------------------------------------------------------------ what Pillow reads


@pytest.mark.parametrize("ending", ["png", "tif", "bmp", "webp"])
def test_grey_and_colour_of_8_bits(tmp_path, ending):
    lossless = {"lossless": True} if ending == "webp" else {}
    grey = saved(tmp_path / f"g.{ending}", GREY, **lossless)
    colour = saved(tmp_path / f"c.{ending}", COLOUR, **lossless)
    np.testing.assert_array_equal(read_image(colour), COLOUR)
    np.testing.assert_array_equal(read_image(grey), GREY[..., None].repeat(3, 2))
    np.testing.assert_array_equal(read_image(grey, 1)[..., 0], GREY)
    np.testing.assert_allclose(read_image(colour, 1)[..., 0], luma(COLOUR), atol=0.51)
    # 255 becomes 65535: times 257.
    np.testing.assert_array_equal(read_image(colour, 3, 16), COLOUR.astype(np.uint16) * 257)


def test_alpha_is_laid_over_black_unless_it_is_requested(tmp_path):
    path = saved(tmp_path / "1.png", np.concatenate([COLOUR, ALPHA], 2))
    np.testing.assert_allclose(read_image(path), over_black(COLOUR, ALPHA, 255), atol=1)
    np.testing.assert_allclose(read_image(path, 1)[..., 0], luma(over_black(COLOUR, ALPHA, 255)), atol=1.5)
    np.testing.assert_array_equal(read_image(path, 4), np.concatenate([COLOUR, ALPHA], 2))
    opaque = read_image(saved(tmp_path / "2.png", COLOUR), 4)
    np.testing.assert_array_equal(opaque[..., :3], COLOUR)
    assert (opaque[..., 3] == 255).all()
    grey = saved(tmp_path / "3.png", np.concatenate([GREY[..., None], ALPHA], 2))
    np.testing.assert_array_equal(read_image(grey, 2), np.concatenate([GREY[..., None], ALPHA], 2))
    np.testing.assert_allclose(read_image(grey, 1), over_black(GREY[..., None], ALPHA, 255), atol=1)


def test_palettes_give_the_colours_that_they_name(tmp_path):
    indexed = Image.fromarray(RNG.integers(0, 3, SHAPE, np.uint8), "L")
    colours = np.array([[10, 20, 30], [200, 100, 50], [0, 255, 9]], np.uint8)
    index = np.asarray(indexed)
    palette = Image.new("P", indexed.size)
    palette.putdata(index.ravel().tolist())
    palette.putpalette(colours.ravel().tolist())
    palette.save(tmp_path / "p.png")
    np.testing.assert_array_equal(read_image(tmp_path / "p.png"), colours[index])
    np.testing.assert_allclose(read_image(tmp_path / "p.png", 1)[..., 0], luma(colours[index]), atol=0.51)


@pytest.mark.parametrize("ending", ["tif", "jpg"])
def test_cmyk_is_converted(tmp_path, ending):
    """Full cyan and no black is the red-less colour, in every format."""
    pixels = np.zeros((16, 16, 4), np.uint8)
    pixels[..., 0] = 255
    Image.fromarray(pixels, "CMYK").save(tmp_path / f"1.{ending}")
    assert np.abs(read_image(tmp_path / f"1.{ending}").astype(int) - [0, 255, 255]).max() <= 2
    grey = 0.587 * 255 + 0.114 * 255
    assert np.abs(read_image(tmp_path / f"1.{ending}", 1).astype(float) - grey).max() <= 2


# ------------------------------------------------------------------ 16 bits


@pytest.mark.parametrize("ending", ["png", "tif"])
def test_grey_of_16_bits(tmp_path, ending):
    path = saved(tmp_path / f"1.{ending}", DEEP[..., 0])
    np.testing.assert_array_equal(read_image(path, 1, 16)[..., 0], DEEP[..., 0])
    np.testing.assert_array_equal(read_image(path, 3, 16), DEEP[..., :1].repeat(3, 2))
    np.testing.assert_array_equal(read_image(path), np.round(DEEP[..., :1] / 257).astype(np.uint8).repeat(3, 2))


def test_a_png_file_of_16_bits(png):
    path = png(DEEP)
    np.testing.assert_array_equal(read_image(path, 3, 16), DEEP)
    np.testing.assert_array_equal(read_image(path), np.round(DEEP / 257))
    np.testing.assert_allclose(read_image(path, 1, 16)[..., 0], luma(DEEP), atol=2)
    assert (read_image(path) != DEEP >> 8).any(), "Pillow drops the lower bits"


def test_a_transparent_png_file_of_16_bits(png):
    alpha = RNG.integers(0, 65536, (*SHAPE, 1), np.uint16)
    path = png(np.concatenate([DEEP, alpha], 2))
    np.testing.assert_allclose(read_image(path, 3, 16), over_black(DEEP, alpha, 65535), atol=0.51)
    np.testing.assert_array_equal(read_image(path, 4, 16), np.concatenate([DEEP, alpha], 2))


def test_a_tiff_file_of_16_bits(tmp_path, tifffile):
    for options in ({}, {"planarconfig": "separate"}, {"compression": "zlib"}, {"compression": "lzw"}):
        samples = np.moveaxis(DEEP, 2, 0) if "planarconfig" in options else DEEP
        tifffile.imwrite(tmp_path / "1.tif", samples, photometric="rgb", **options)
        np.testing.assert_array_equal(read_image(tmp_path / "1.tif", 3, 16), DEEP)
        np.testing.assert_array_equal(read_image(tmp_path / "1.tif"), np.round(DEEP / 257))


@pytest.mark.parametrize(
    ("orientation", "upright"),
    [
        (1, lambda image: image),
        (2, lambda image: image[:, ::-1]),
        (3, lambda image: image[::-1, ::-1]),
        (4, lambda image: image[::-1]),
        (5, lambda image: image.swapaxes(0, 1)),
        (6, lambda image: np.rot90(image, -1)),
        (7, lambda image: np.rot90(image, 2).swapaxes(0, 1)),
        (8, lambda image: np.rot90(image)),
    ],
)
def test_the_orientation_of_16_bits_is_that_of_8(tmp_path, tifffile, orientation, upright):
    tag = (274, "H", 1, orientation, True)
    tifffile.imwrite(tmp_path / "deep.tif", DEEP, photometric="rgb", extratags=[tag])
    tifffile.imwrite(tmp_path / "plain.tif", COLOUR, photometric="rgb", extratags=[tag])
    np.testing.assert_array_equal(read_image(tmp_path / "deep.tif", 3, 16), upright(DEEP))
    np.testing.assert_array_equal(read_image(tmp_path / "plain.tif"), upright(COLOUR))


def test_a_missing_package_is_named(png, monkeypatch):
    path = png(DEEP)
    monkeypatch.setitem(sys.modules, "imagecodecs", None)
    with pytest.raises(DataError, match=r'1\.png .*need imagecodecs.*pip install "enface\[images\]"'):
        read_image(path)


# ------------------------------------------------------------------ many planes


def test_planes_of_a_tiff_file(tmp_path, tifffile):
    six = RNG.integers(0, 256, (6, *SHAPE), np.uint8)
    for samples, options in (
        (np.moveaxis(six, 0, 2), {"planarconfig": "contig"}),
        (six, {"planarconfig": "separate"}),
        (six, {}),
    ):
        tifffile.imwrite(tmp_path / "1.tif", samples, photometric="minisblack", **options)
        np.testing.assert_array_equal(read_image(tmp_path / "1.tif", 6), np.moveaxis(six, 0, 2))
        with pytest.raises(DataError, match=r"1\.tif .*6 planes, and 3 are requested"):
            read_image(tmp_path / "1.tif")


def test_a_preview_after_the_image_is_no_plane(tmp_path, tifffile):
    with tifffile.TiffWriter(tmp_path / "1.tif") as file:
        file.write(COLOUR, photometric="rgb")
        file.write(COLOUR[::2, ::2], photometric="rgb")
    np.testing.assert_array_equal(read_image(tmp_path / "1.tif"), COLOUR)


@pytest.mark.parametrize(
    ("samples", "options", "message"),
    [
        (np.zeros((3, *SHAPE, 3), np.uint8), {"photometric": "rgb"}, "3 pages of 3 planes"),
        (np.zeros((*SHAPE, 4), np.uint16), {"photometric": "separated"}, "its mode is SEPARATED"),
        (np.zeros(SHAPE, np.float32), {}, "F, 32 bits"),
        (np.zeros((*SHAPE, 6), np.float32), {"photometric": "minisblack"}, "MINISBLACK, float32"),
        (np.zeros((*SHAPE, 6), np.int16), {"photometric": "minisblack"}, "MINISBLACK, int16"),
    ],
)
def test_other_modes_are_refused_by_name(tmp_path, tifffile, samples, options, message):
    tifffile.imwrite(tmp_path / "1.tif", samples, **options)
    with pytest.raises(DataError, match=rf"image .*1\.tif cannot be read.*{message}"):
        read_image(tmp_path / "1.tif")


def test_a_picture_has_no_twelve_planes(tmp_path):
    with pytest.raises(DataError, match=r"1\.png .*mode is RGB, and 12 planes are requested; see data.channels"):
        read_image(saved(tmp_path / "1.png", COLOUR), 12)


# ------------------------------------------------------------------ NumPy files


@pytest.mark.parametrize("samples", [COLOUR, DEEP, np.zeros((*SHAPE, 12), np.uint8)])
def test_numpy_files(tmp_path, samples):
    np.save(tmp_path / "1.npy", samples)
    depth = 8 * samples.itemsize
    np.testing.assert_array_equal(read_image(tmp_path / "1.npy", samples.shape[2], depth), samples)


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
def test_numpy_files_of_real_numbers_are_in_0_to_1(tmp_path, kind):
    values = np.array([[0, 0.25, 0.5, 1]], kind)
    np.save(tmp_path / "1.npy", values)
    assert read_image(tmp_path / "1.npy", 1)[0, :, 0].tolist() == [0, 64, 128, 255]
    assert read_image(tmp_path / "1.npy", 1, 16)[0, :, 0].tolist() == [0, 16384, 32768, 65535]
    assert read_image(tmp_path / "1.npy")[0, 1].tolist() == [64, 64, 64]


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (np.full(SHAPE, 1.5), r"are not all in \[0, 1\]"),
        (np.full(SHAPE, np.nan), r"are not all in \[0, 1\]"),
        (np.zeros(SHAPE, np.int32), "int32"),
        (np.zeros(SHAPE, bool), "bool"),
        (np.zeros(5, np.uint8), r"\(5,\)"),
        (np.zeros((*SHAPE, 4), np.uint8), "4 planes, and 3 are requested"),
        (np.array([{}]), "Python objects"),
    ],
)
def test_other_numpy_files_are_refused(tmp_path, samples, message):
    np.save(tmp_path / "1.npy", samples)
    with pytest.raises(DataError, match=rf"image .*1\.npy cannot be read.*{message}"):
        read_image(tmp_path / "1.npy")


# ------------------------------------------------------------------ writing


@pytest.mark.parametrize("samples", [GREY[..., None], COLOUR, DEEP[..., :1], DEEP])
def test_a_written_picture_keeps_planes_and_bits(tmp_path, samples):
    pytest.importorskip("imagecodecs")
    path = tmp_path / "deep" / "1.png"
    assert write_image(path, samples) == [path]
    np.testing.assert_array_equal(read_image(path, samples.shape[2], 8 * samples.itemsize), samples)


@pytest.mark.parametrize(("planes", "shown"), [(2, [0, 0, 0]), (5, [0, 1, 2])])
def test_other_planes_are_written_as_an_array_and_shown_in_part(tmp_path, planes, shown):
    samples = RNG.integers(0, 256, (*SHAPE, planes), np.uint8)
    assert write_image(tmp_path / "1.png", samples) == [tmp_path / "1.png", tmp_path / "1.npy"]
    np.testing.assert_array_equal(np.load(tmp_path / "1.npy"), samples)
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "1.png").convert("RGB")), samples[..., shown])
