"""From folders of images that are not square RGB of 8 bits to a network, its evaluation, its outputs and its export."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

import enface
from enface.training.build import values_of

PAIRS = 5
SIZE = (32, 48)


def ramp(number: int, planes: int, height: int, width: int) -> np.ndarray:
    """Smooth samples of 16 bits that no 8 bits hold."""
    rows, columns = np.mgrid[0:height, 0:width]
    waves = [np.sin(rows / (4 + plane) + columns / (7 + number)) for plane in range(planes)]
    return np.round((np.stack(waves, axis=2) + 1) / 2 * 65535).astype(np.uint16)


def trained(folder: Path, sizes: list[tuple[int, int]], **data) -> Path:
    """Train for a few steps on NumPy files of these sizes; return the run's directory."""
    planes = data.get("channels", {"source": 3, "target": 3})
    for role in ("source", "target"):
        (folder / "data" / role).mkdir(parents=True)
        for number in range(PAIRS):
            samples = ramp(number, planes[role], *sizes[number % len(sizes)])
            np.save(folder / "data" / role / f"{number}.npy", samples)
    recipe = {
        "name": "any",
        "data": {"use": "paired_folders", "root": str(folder / "data"), "size": [*SIZE], "split": {"train": 3}, **data},
        "generator": {"use": "unet", "width": 4, "depth": 3},
        "engine": {"device": "cpu", "precision": "fp32"},
        "stages": {"main": {"steps": 4, "batch": 2, "terms": {"l1": {}}}},
        "metrics": ["mae"],
        "log": {"every": 2, "samples": 2, "checkpoint": 0, "validate": 0},
    }
    (folder / "r.yaml").write_text(yaml.safe_dump(recipe), encoding="utf-8")
    return enface.train(enface.load_recipe(folder / "r.yaml"), runs=folder / "runs").directory


@pytest.fixture(scope="module")
def grey_to_colour(tmp_path_factory) -> Path:
    """A run from one plane to three, at 32 x 48 px and 16 bits."""
    folder = tmp_path_factory.mktemp("any")
    return trained(folder, [SIZE, (32, 64)], channels={"source": 1, "target": 3}, depth=16)


def network_of(run: Path):
    from enface_tools.evaluate.checkpoints import open_network

    return open_network(enface.load_recipe(run), run, None, torch.device("cpu"))[0]


def expected(run: Path, samples: np.ndarray, levels: int = 65535) -> np.ndarray:
    """Output of the run's network for samples (H, W, C), rounded as a file is."""
    source = torch.from_numpy(samples.astype(np.float32).transpose(2, 0, 1))[None] / (levels / 2) - 1
    with torch.inference_mode():
        output = values_of(network_of(run), {"source": source}.__getitem__)["output"][0]
    return np.floor((output.clamp(-1, 1).numpy().transpose(1, 2, 0) + 1) / 2 * levels + 0.5)


def test_metrics_are_measured_in_the_images_own_range(grey_to_colour):
    """The error of each pair, computed here from the files alone."""
    summary = json.loads((grey_to_colour / "evaluation" / "summary.json").read_text())
    errors = []
    for number in (3, 4):
        width = 64 if number % 2 else 48
        left = (width - 48) // 2
        source, target = (ramp(number, planes, 32, width)[:, left : left + 48] for planes in (1, 3))
        errors.append(np.abs(expected(grey_to_colour, source) - target).mean() / 65535)
    assert summary["metrics"]["mae"]["mean"] == pytest.approx(np.mean(errors), abs=1e-6)
    assert summary["metrics"]["mae"]["card"]["rounding"] == "output and target to 16 bits"
    assert set(summary["metrics"]["mae"]["gains"]) == {"mean_target"}, "a grey image is no copy in colour"


def test_pictures_show_grey_and_colour_side_by_side(grey_to_colour):
    # Two pairs; rows of sources, outputs and targets.
    grid = np.asarray(Image.open(grey_to_colour / "evaluation" / "grid.png"))
    assert grid.shape == (3 * 32 + 2 * 2 + 2 * 2, 2 * 48 + 2 + 2 * 2, 3)
    source, target = grid[2:34, 2:50], grid[2 + 2 * 34 : 34 + 2 * 34, 2:50]
    assert (source == source[..., :1]).all()
    assert (target != target[..., :1]).any()
    sprite = np.asarray(Image.open(grey_to_colour / "evaluation" / "pictures" / "000-target.webp"))
    assert sprite.shape == (2 * 48, 48, 3), "square tiles"
    np.testing.assert_array_equal(sprite[8:40], target)
    assert not sprite[:8].any()
    samples = sorted((grey_to_colour / "samples").glob("*.png"))
    assert {path.name.split("-")[1] for path in samples} == {"inputs.png", "outputs.png", "targets.png"}


def test_apply_writes_the_bits_and_planes_of_the_targets(grey_to_colour, tmp_path):
    pytest.importorskip("imagecodecs")
    samples = ramp(7, 1, *SIZE)
    np.save(tmp_path / "a.npy", samples)
    Image.fromarray(samples[..., 0]).save(tmp_path / "b.png")
    for name in ("a.npy", "b.png"):
        (path,) = enface.apply(grey_to_colour, tmp_path / name, tmp_path / "out", device="cpu")
        np.testing.assert_array_equal(enface.read_image(path, 3, 16), expected(grey_to_colour, samples))


def test_apply_keeps_an_images_own_size(grey_to_colour, tmp_path):
    pytest.importorskip("imagecodecs")
    samples = ramp(7, 1, 45, 83)
    np.save(tmp_path / "a.npy", samples)
    (path,) = enface.apply(grey_to_colour, tmp_path / "a.npy", tmp_path / "out", size="native", device="cpu", grid=True)
    output = enface.read_image(path, 3, 16)
    assert output.shape == (45, 83, 3)
    np.testing.assert_allclose(output, expected(grey_to_colour, samples), atol=2)
    assert Image.open(tmp_path / "out" / "grid.png").size == (48, 2 * 32)
    (path,) = enface.apply(
        grey_to_colour, tmp_path / "a.npy", tmp_path / "tiled", size="native", tile=48, overlap=16, device="cpu"
    )
    assert enface.read_image(path, 3, 16).shape == (45, 83, 3)


def test_apply_says_what_it_cropped(grey_to_colour, enface, tmp_path):
    np.save(tmp_path / "a.npy", ramp(7, 1, 32, 64))
    outcome = enface("apply", grey_to_colour, tmp_path / "a.npy", "--out", tmp_path / "out")
    assert outcome.code == 0, outcome.err
    assert "1 images were cropped to the shape of 32 x 48 px; --size native keeps their own size" in outcome.out
    outcome = enface("apply", grey_to_colour, tmp_path / "a.npy", "--out", tmp_path / "own", "--size", "native")
    assert "cropped" not in outcome.out


def test_tiles_of_the_size_of_training_are_refused(grey_to_colour, enface, tmp_path):
    np.save(tmp_path / "a.npy", ramp(7, 1, 32, 64))
    outcome = enface("apply", grey_to_colour, tmp_path / "a.npy", "--out", tmp_path / "out", "--tile", 256)
    assert outcome.code == 2
    assert "add --size native, or leave out --tile" in outcome.err
    assert not (tmp_path / "out").exists()


def test_a_network_of_one_size_refuses_others(grey_to_colour, monkeypatch, tmp_path):
    from enface_tools.inference import apply

    def opened(*arguments, **options):
        network, saved = open_network(*arguments, **options)
        network.multiple = None
        return network, saved

    np.save(tmp_path / "a.npy", ramp(7, 1, 32, 64))
    open_network = apply.open_network
    monkeypatch.setattr(apply, "open_network", opened)
    with pytest.raises(enface.EnfaceError, match="unet accepts only the size that it was trained at"):
        enface.apply(grey_to_colour, tmp_path / "a.npy", tmp_path / "out", size="native", device="cpu")


def test_exports_accept_every_size(grey_to_colour, tmp_path):
    from enface_tools.evaluate.checkpoints import open_network
    from enface_tools.inference.export import Exporter

    loaded = enface.load_recipe(grey_to_colour)
    network, saved = open_network(loaded, grey_to_colour, None, torch.device("cpu"))
    content = Exporter(loaded.recipe, network, saved)(tmp_path, ["torch"])
    assert content["source"]["shape"] == ["batch", 1, "height, at least 32", "width, at least 48"]
    assert content["output"]["shape"][:2] == ["batch", 3]
    assert content["source"]["from_pixels"] == "pixel / 32767.5 - 1"
    assert content["output"]["to_pixels"] == "floor((value + 1) / 2 * 65535 + 0.5)"
    assert (content["resize"]["fit"], content["resize"]["to"]) == ("crop", [32, 48])
    program = torch.export.load(tmp_path / "generator.pt2").module()
    for size in ((32, 48), (33, 101), (72, 50)):
        columns = {"source": torch.rand(1, 1, *size) * 2 - 1}
        with torch.inference_mode():
            output = values_of(network, columns.__getitem__)["output"]
            assert (program(columns["source"]) - output).abs().max() < 1e-4


def test_many_planes_are_written_as_arrays(tmp_path):
    run = trained(tmp_path, [SIZE], channels={"source": 6, "target": 5})
    source = ramp(9, 6, *SIZE)
    (tmp_path / "in").mkdir()
    np.save(tmp_path / "in" / "a.npy", source)
    (path,) = enface.apply(run, tmp_path / "in", tmp_path / "out", device="cpu")
    output = np.load(path.with_suffix(".npy"))
    assert output.shape == (*SIZE, 5)
    np.testing.assert_array_equal(output, expected(run, np.round(source / 257), 255))
    np.testing.assert_array_equal(np.asarray(Image.open(path)), output[..., :3])
    with pytest.raises(enface.DataError, match=r"a\.npy would overwrite the input"):
        enface.apply(run, tmp_path / "in" / "a.npy", tmp_path / "in", device="cpu")
