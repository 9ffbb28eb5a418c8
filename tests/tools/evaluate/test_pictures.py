"""Pictures of an evaluation: they show the pixels that were measured."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image

from enface_tools.evaluate.grid import displayed
from enface_tools.evaluate.measure import rounded
from enface_tools.evaluate.pictures import TILE, PictureWriter
from enface_tools.report.files import FolderReader, PageWriter
from enface_tools.report.pictures import sprite_sheet


def with_grid(count, size, amplitude=4 / 255):
    """Grey ramps with a checkerboard in red, the artifact of transposed convolutions: (N, 3, size, size)."""
    images = torch.linspace(0.25, 0.75, size).expand(count, 3, size, size).clone()
    rows, columns = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    images[:, 0] += amplitude * (1 - 2 * ((rows + columns) % 2))
    return images


def shown(path, place, size, row=0):
    """One tile of a picture, as float (3, size, size) in [0, 1]."""
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("RGB"))
    tile = pixels[row * size : (row + 1) * size, place * size : (place + 1) * size]
    return torch.from_numpy(tile / 255).permute(2, 0, 1).float()


def write(folder, output, target):
    writer = PictureWriter(folder, len(output))
    writer.add({"source": target, "output": output, "target": target})
    writer.close()
    return json.loads((folder / "pictures.json").read_text())


def test_tiles_have_the_pixels_that_were_measured(tmp_path):
    noise = torch.rand(5, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    output = torch.cat([with_grid(1, 32), noise[1:]])
    about = write(tmp_path, output, noise)
    for row in range(5):
        for role, images in (("source", noise), ("output", output), ("target", noise)):
            path = tmp_path / "pictures" / about["files"][role][0]
            torch.testing.assert_close(shown(path, 0, 32, row), rounded(images)[row], rtol=0, atol=1e-6)


def test_a_faint_checkerboard_in_one_channel_survives(tmp_path):
    size = TILE + 32
    about = write(tmp_path, with_grid(1, size), with_grid(1, size, 0.0))
    whole = shown(tmp_path / "pictures" / about["large"]["files"]["0"], 1, size)
    # Of a checkerboard, neighbours differ by twice its amplitude; of the ramp, at most by one level.
    assert float((whole[0, 1:] - whole[0, :-1]).abs().mean()) * 255 == pytest.approx(8, abs=0.1)
    assert float((whole[2, 1:] - whole[2, :-1]).abs().max()) == 0
    tile = shown(tmp_path / "pictures" / about["files"]["output"][0], 0, TILE)
    assert float((tile[0, 1:] - tile[0, :-1]).abs().mean()) * 255 < 4, "reduction weakens it, as the page says"


def test_a_report_copies_pictures_unchanged_and_says_that_tiles_are_reduced(tmp_path):
    size = TILE + 32
    grid = (with_grid(1, size)[0].permute(1, 2, 0) * 255).round().byte().numpy()
    (tmp_path / "run").mkdir()
    Image.fromarray(grid).save(tmp_path / "run" / "grid.png")
    write(tmp_path / "run", with_grid(3, size), with_grid(3, size, 0.0))
    reader, page = FolderReader(tmp_path / "run"), PageWriter(tmp_path / "page")
    picture = page.picture(reader, tmp_path / "run" / "grid.png", "grid", "A grid.")
    with Image.open(tmp_path / "page" / picture.file) as image:
        np.testing.assert_array_equal(np.asarray(image), grid)
    sheet = sprite_sheet(reader, page, "")
    assert f"reduced from {size} to {TILE} px" in sheet.reduction
    assert "3 of the 3 images are enlarged at full size" in sheet.reduction
    folders = (tmp_path / "page" / "assets", tmp_path / "run")
    copied, written = (folder / "pictures" / "000-output.webp" for folder in folders)
    assert copied.read_bytes() == written.read_bytes()


def test_a_report_of_small_images_does_not_speak_of_reduction(tmp_path):
    write(tmp_path, with_grid(2, 32), with_grid(2, 32, 0.0))
    assert sprite_sheet(FolderReader(tmp_path), PageWriter(tmp_path / "page"), "").reduction == ""


def test_images_that_are_not_square_have_black_borders(tmp_path):
    output, target = (torch.rand(3, 3, 20, 32, generator=torch.Generator().manual_seed(seed)) for seed in (0, 1))
    about = write(tmp_path, output, target)
    assert about["tile"] == 32
    tile = shown(tmp_path / "pictures" / about["files"]["output"][0], 0, 32, 2)
    torch.testing.assert_close(tile[:, 6:26], rounded(output)[2], rtol=0, atol=1e-6)
    assert not tile[:, :6].any()
    assert not tile[:, 26:].any()


@pytest.mark.parametrize(("planes", "seen"), [(1, [0, 0, 0]), (2, [0, 0, 0]), (4, [0, 1, 2])])
def test_pictures_show_three_planes_or_one(tmp_path, planes, seen):
    output, target = (torch.rand(1, planes, 16, 16, generator=torch.Generator().manual_seed(seed)) for seed in (0, 1))
    about = write(tmp_path, output, target)
    tile = shown(tmp_path / "pictures" / about["files"]["target"][0], 0, 16)
    torch.testing.assert_close(tile, rounded(target)[0, seen], rtol=0, atol=1e-6)


def test_packs_are_displayed_with_8_bits():
    deep = np.arange(2 * 5 * 4 * 4, dtype=np.uint16).reshape(2, 5, 4, 4) * 400
    np.testing.assert_array_equal(displayed(deep), np.round(deep[:, :3] / 257))
    grey = deep[:, :1].astype(np.uint8)
    np.testing.assert_array_equal(displayed(grey), grey.repeat(3, 1))
    plain = np.zeros((2, 3, 4, 4), np.uint8)
    assert np.shares_memory(displayed(plain), plain), "packs are larger than memory"
