"""Apply a network to image files: planning, fitting, outputs and the grid."""

from __future__ import annotations

import os
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from PIL import Image

from enface.errors import DataError, EnfaceError
from enface.plugin.components import Generator
from enface.recipe.models import DataModel
from enface_tools.inference.apply import (
    ImageTask,
    ImageTranslator,
    PairGrid,
    check_layers,
    device_of,
    plan_tasks,
)
from enface_tools.inference.tiles import Tiling

CPU = torch.device("cpu")


def picture(path: Path, height: int = 20, width: int = 20, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def pixels_of(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path))


class Negative(Generator):
    """Its output is the source's negative; it records its batch sizes."""

    def __init__(self, gain: float = 1.0) -> None:
        super().__init__()
        self.gain, self.batches = gain, []

    def forward(self, wants, source):
        assert wants == {"output"}
        assert source.dtype == torch.float32
        assert torch.is_inference_mode_enabled()
        self.batches.append(len(source))
        return {"output": -self.gain * source}


def translator(network: torch.nn.Module | None = None, **keys) -> ImageTranslator:
    sizes = {key: keys.pop(key) for key in ("size", "load_size") if key in keys}
    return ImageTranslator(network or Negative(), DataModel(use="x", **{"size": 16, **sizes}), CPU, **keys)


# ------------------------------------------------------------------ planning


def test_files_and_folders_become_pngs_in_natural_order(tmp_path):
    for name in ("many/10.jpg", "many/2.png", "many/inner/a.b.webp", "one.bmp"):
        picture(tmp_path / name)
    (tmp_path / "many/notes.txt").write_text("no image")
    out = tmp_path / "out"
    tasks = plan_tasks([tmp_path / "one.bmp", tmp_path / "many"], out)
    names = [task.output.relative_to(out).as_posix() for task in tasks]
    assert names == ["one.png", "2.png", "10.png", "inner/a.b.png"]
    assert not out.exists()


@pytest.mark.parametrize(("first", "second"), [("a/1.png", "b/1.png"), ("a/1.png", "a/1.jpg")])
def test_two_images_for_one_file_are_refused(tmp_path, first, second):
    given = [picture(tmp_path / first), picture(tmp_path / second)]
    with pytest.raises(DataError, match=r"1\.(png|jpg) would both be written to .*out/1\.png"):
        plan_tasks(given, tmp_path / "out")


def test_an_image_given_twice_is_planned_once(tmp_path):
    path = picture(tmp_path / "a/1.png")
    assert len(plan_tasks([path, tmp_path / "a", path], tmp_path / "out")) == 1


def test_no_input_is_overwritten(tmp_path):
    path = picture(tmp_path / "a/1.png")
    with pytest.raises(DataError, match=r"1\.png would overwrite the input"):
        plan_tasks([path], tmp_path / "a")
    with pytest.raises(DataError, match="is the folder of the images"):
        plan_tasks([tmp_path / "a"], tmp_path / "b" / ".." / "a")
    # Neither through a link in the output folder, nor by the grid.
    (tmp_path / "out").mkdir()
    (tmp_path / "out/1.png").symlink_to(path)
    with pytest.raises(DataError, match="would overwrite the input"):
        plan_tasks([path], tmp_path / "out")
    grid = picture(tmp_path / "c/grid.png")
    with pytest.raises(DataError, match=r"grid\.png would overwrite the input"):
        plan_tasks([grid], tmp_path / "elsewhere", grid=grid)


def test_an_output_and_the_grid_cannot_share_a_name(tmp_path):
    out = tmp_path / "out"
    with pytest.raises(DataError, match="an output and the grid"):
        plan_tasks([picture(tmp_path / "grid.jpg")], out, grid=out / "grid.png")


def test_outputs_below_the_inputs_are_not_used_as_inputs(tmp_path):
    picture(tmp_path / "a/1.jpg")
    out = tmp_path / "a/out"
    for _ in range(2):
        tasks = plan_tasks([tmp_path / "a"], out)
        assert [task.output.name for task in tasks] == ["1.png"]
        translator()(tasks)
    assert sorted(path.name for path in tmp_path.rglob("*.*")) == ["1.jpg", "1.png"]
    (tmp_path / "a/1.jpg").unlink()
    with pytest.raises(DataError, match="no image outside of"):
        plan_tasks([tmp_path / "a"], out)


def test_missing_images_are_named(tmp_path):
    with pytest.raises(DataError, match=r"gone\.png does not exist"):
        plan_tasks([tmp_path / "gone.png"], tmp_path / "out")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="empty holds no image"):
        plan_tasks([tmp_path / "empty"], tmp_path / "out")
    with pytest.raises(DataError, match="no image is given"):
        plan_tasks([], tmp_path / "out")
    with pytest.raises(DataError, match="give --out a folder"):
        plan_tasks([picture(tmp_path / "a.png")], tmp_path / "a.png")


# ------------------------------------------------------------------ fitting


def test_images_are_loaded_larger_and_cropped_to_their_centre(tmp_path):
    path = picture(tmp_path / "a.png", 50, 40)
    translator(size=16, load_size=24, fit="stretch")([ImageTask(path, tmp_path / "out.png")])
    packed = np.asarray(Image.open(path).resize((24, 24), Image.Resampling.LANCZOS))
    np.testing.assert_array_equal(255 - pixels_of(tmp_path / "out.png"), packed[4:20, 4:20])


# ------------------------------------------------------------------ applying


def test_images_are_processed_in_batches(tmp_path):
    paths = [picture(tmp_path / f"in/{number}.png", 16, 16, number) for number in range(7)]
    network, reports = Negative(), []
    errors = translator(network, batch=3)(
        plan_tasks(paths, tmp_path / "out"), progress=lambda done, total: reports.append((done, total))
    )
    assert errors == {}
    assert network.batches == [3, 3, 1]
    assert reports == [(3, 7), (6, 7), (7, 7)]
    for path in paths:
        np.testing.assert_array_equal(pixels_of(tmp_path / "out" / path.name), 255 - pixels_of(path))


def test_outputs_beyond_the_range_are_clipped(tmp_path):
    translator(Negative(gain=3))([ImageTask(picture(tmp_path / "a.png", 16, 16), tmp_path / "out.png")])
    expected = (127.5 - 3 * (pixels_of(tmp_path / "a.png").astype(float) - 127.5)).clip(0, 255)
    assert np.abs(pixels_of(tmp_path / "out.png") - expected).max() <= 0.5 + 1e-4


def test_an_unreadable_image_is_reported_and_the_others_are_written(tmp_path):
    paths = [picture(tmp_path / f"in/{number}.png", seed=number) for number in range(5)]
    paths[1].write_bytes(b"no image")
    paths[4].write_bytes(paths[4].read_bytes()[:200])
    network = Negative()
    errors = translator(network, batch=2)(plan_tasks([tmp_path / "in"], tmp_path / "out"))
    assert network.batches == [1, 2]
    assert [path.name for path in sorted((tmp_path / "out").iterdir())] == ["0.png", "2.png", "3.png"]
    assert [task.source for task in errors] == [paths[1], paths[4]]
    assert all(str(task.source) in message for task, message in errors.items())


def test_an_output_is_replaced_atomically(tmp_path, monkeypatch):
    task = ImageTask(picture(tmp_path / "a.png"), tmp_path / "out.png")
    task.output.write_bytes(b"earlier")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(DataError, match=r"cannot write .*out\.png \(No space left"):
        translator()([task])
    assert task.output.read_bytes() == b"earlier"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "out.png"]
    monkeypatch.undo()
    translator()([task])
    assert pixels_of(task.output).shape == (16, 16, 3)


def test_cuda_is_refused_if_not_available(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert device_of("auto") == device_of("cpu") == CPU
    with pytest.raises(EnfaceError, match="no CUDA device"):
        device_of("cuda")


def test_a_batch_too_large_for_the_device_is_reported(tmp_path):
    class Greedy(Generator):
        def forward(self, wants, source):
            raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(EnfaceError, match="smaller --batch"):
        translator(Greedy())([ImageTask(picture(tmp_path / "a.png"), tmp_path / "out.png")])


# ------------------------------------------------------------------ the grid


def test_the_grid_shows_inputs_above_outputs(tmp_path):
    for number in range(12):
        picture(tmp_path / f"in/{number}.png", 16, 16, number)
    tasks, pairs = plan_tasks([tmp_path / "in"], tmp_path / "out"), PairGrid(12, (16, 16))
    translator(batch=5)(tasks, pairs)
    assert pairs.save(tmp_path / "grid.png")
    grid = pixels_of(tmp_path / "grid.png")
    # Ten columns and two rows, with a gap of 4 between them.
    assert grid.shape == (2 * 32 + 4, 10 * 16 + 9 * 4, 3)
    eleventh = pixels_of(tmp_path / "in/11.png")
    np.testing.assert_array_equal(grid[36:52, 20:36], eleventh)
    np.testing.assert_array_equal(grid[52:68, 20:36], 255 - eleventh)
    assert (grid[36:, 40:] == 0).all()


def test_the_size_of_the_grid_is_bounded():
    tile = torch.zeros(3, 8, 8)
    pairs = PairGrid(100_000, (8, 8))
    pairs.add(dict.fromkeys(range(100_000), tile), dict.fromkeys(range(100_000), tile))
    assert len(pairs._pairs) == 100
    assert len(PairGrid(100_000, (2048, 2048))._chosen) == 5


def test_an_empty_grid_is_not_written(tmp_path):
    assert not PairGrid(3, (8, 8)).save(tmp_path / "grid.png")
    assert not (tmp_path / "grid.png").exists()


# ------------------------------------------------------------------ layers


class Layered(Generator):
    """Its output is half the source shifted by a pixel, and half painted white."""

    provides: ClassVar = dict.fromkeys(("output", "masks", "flow", "painted"), ("source",))
    images = ("source",)
    multiple = 8

    def forward(self, wants, source):
        assert torch.is_inference_mode_enabled()
        moved = torch.cat([source[..., 1:], source[..., -1:]], dim=-1)
        flow = source.new_tensor([1.0, 0.0]).view(1, 1, 2, 1, 1).expand(len(source), -1, -1, *source.shape[2:])
        masks = torch.full_like(source[:, :2], 0.5)
        return {"output": (moved + 1) / 2, "masks": masks, "flow": flow, "painted": torch.ones_like(source)}


@pytest.mark.parametrize(("tiling", "shape"), [(None, (16, 16)), (Tiling(8), (13, 10))])
def test_layers_are_drawn_beside_each_output(tmp_path, tiling, shape):
    source = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    Image.fromarray(source).save(tmp_path / "face.png")
    task = ImageTask(tmp_path / "face.png", tmp_path / "out" / "face.png")
    draw = translator(Layered(), tiling=tiling, layers=True)
    assert draw([task]) == {}
    sheet = pixels_of(tmp_path / "out" / "face.layers.png")
    height, width = shape
    assert sheet.shape == (height, 6 * width + 5 * 2, 3)
    parts = [sheet[:, start : start + width] for start in range(0, sheet.shape[1], width + 2)]
    rows = dict(zip(draw.pictures, parts, strict=True))
    assert list(rows) == ["source", "moved", "painted", "masks", "flow", "output"]
    np.testing.assert_array_equal(rows["source"], source)
    np.testing.assert_array_equal(rows["moved"][:, :-1], source[:, 1:])
    assert (rows["painted"] == 255).all()
    # Half blue (0, 114, 178), half vermilion (213, 94, 0).
    assert (rows["masks"] == (107, 104, 89)).all()
    assert (rows["flow"][..., 0] == 255).all()
    assert (rows["flow"][..., 1:] <= 1).all(), "to the right is red"
    np.testing.assert_array_equal(rows["output"], pixels_of(task.output))


def test_files_of_layers_are_planned(tmp_path):
    picture(tmp_path / "a.png")
    picture(tmp_path / "a.layers.jpg")
    with pytest.raises(DataError, match=r"a\.layers\.jpg and .*a\.png would both write .*out/a\.layers\.png"):
        plan_tasks([tmp_path], tmp_path / "out", beside=[".layers.png"])
    assert len(plan_tasks([tmp_path], tmp_path / "out")) == 2
    picture(tmp_path / "out" / "b.layers.png")
    (tmp_path / "link.png").hardlink_to(tmp_path / "out" / "b.layers.png")
    images = [picture(tmp_path / "b.png"), tmp_path / "link.png"]
    with pytest.raises(DataError, match=r"out/b\.layers\.png would overwrite the input .*link\.png"):
        plan_tasks(images, tmp_path / "out", beside=[".layers.png"])


def test_a_generator_without_layers_or_with_layers_of_more_than_the_source_is_refused():
    check_layers(Layered(), "mine")
    with pytest.raises(EnfaceError, match=r"generator mine has no layers .* leave out --layers"):
        check_layers(Negative(), "mine")
    paired = Layered()
    paired.provides = {"output": ("source",), "masks": ("source", "partner")}
    with pytest.raises(EnfaceError, match="the layers of generator mine need partner beside the source"):
        check_layers(paired, "mine")
