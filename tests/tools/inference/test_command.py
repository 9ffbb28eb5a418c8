"""``enface apply`` and ``enface export`` without the training data: outputs equal those of evaluation."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from torchvision.utils import save_image

PAIRS = 6
# One of them crops images that are loaded larger.
LOAD_SIZES = {"siamese": 40, "unet": 32}
GENERATORS = {"siamese": {"use": "siamese", "width": 0.125}, "unet": {"use": "unet", "width": 8}}


def command(*arguments: object) -> None:
    """Call the command line in this process, outside of a test."""
    from enface.cli import main

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["enface", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            main()
    assert not stop.value.code


class Trained:
    """A run without its data, its test sources as files, and the outputs that evaluation computes for them."""

    def __init__(self, folder: Path, generator: str) -> None:
        rng = np.random.default_rng(0)
        for role in ("source", "target"):
            (folder / "data" / role).mkdir(parents=True)
            for number in range(PAIRS):
                # Smooth, of different sizes, and taller than wide.
                small = rng.integers(0, 256, (5, 4, 3), np.uint8)
                image = Image.fromarray(small).resize((40 + number, 50), Image.Resampling.BICUBIC)
                image.save(folder / "data" / role / f"{number}.png")
        recipe = {
            "name": generator,
            "seed": 1,
            "data": {
                **{"use": "paired_folders", "root": str(folder / "data"), "split": {"train": 3}},
                **{"size": 32, "load_size": LOAD_SIZES[generator]},
            },
            "generator": GENERATORS[generator],
            "engine": {"device": "cpu", "precision": "fp32"},
            "stages": {"main": {"steps": 60, "batch": 3, "ema": 0.7, "optimizer": {"lr": 2e-3}, "terms": {"l1": {}}}},
            "metrics": ["mae"],
            "log": {"every": 20, "samples": 0, "checkpoint": 20, "validate": 0, "keep": 3, "observers": []},
        }
        (folder / "r.yaml").write_text(yaml.safe_dump(recipe), encoding="utf-8")
        command("run", folder / "r.yaml", "--runs", folder / "runs")
        (self.run,) = (folder / "runs" / generator).iterdir()
        self._keep(folder)
        shutil.rmtree(folder / "data")

    def _keep(self, folder: Path) -> None:
        from enface.recipe.load import load_recipe
        from enface.training.prepare import prepare_run
        from enface_tools.evaluate.checkpoints import load_network
        from enface_tools.evaluate.evaluator import Evaluator

        opened = prepare_run(load_recipe(self.run))
        opened.directory = self.run
        evaluator, network = Evaluator(opened), load_network(opened).eval()
        keys = evaluator.about()["key"]
        self.expected = evaluator.images(network, evaluator.rows)["output"]
        self.images = [shutil.copy(folder / "data" / key, folder / Path(key).name) for key in keys]
        shutil.rmtree(opened.pack.folder)


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> dict[str, Trained]:
    return {name: Trained(tmp_path_factory.mktemp("trained"), name) for name in GENERATORS}


@pytest.fixture
def trained(runs) -> Trained:
    return runs["unet"]


def pixels_of(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path))


def width_of(path: Path) -> int:
    return Image.open(path).width


@pytest.mark.parametrize("generator", GENERATORS)
def test_outputs_equal_those_of_evaluation_bit_for_bit(runs, generator, enface, tmp_path):
    each = runs[generator]
    assert not (each.run.parents[3] / "data").exists()
    outcome = enface("apply", each.run, *each.images, "--out", tmp_path / "out", "--device", "cpu")
    assert outcome.code == 0, outcome.err
    assert outcome.out.strip().splitlines()[-1] == f"3 images written to {tmp_path / 'out'}"
    assert len(each.images) == len(each.expected) == 3
    assert (each.expected[0] - each.expected[1]).abs().max() > 0.05, "similar outputs would prove little"
    for image, expected in zip(each.images, each.expected, strict=True):
        save_image(expected, tmp_path / "expected.png")
        np.testing.assert_array_equal(
            pixels_of(tmp_path / "out" / Path(image).name), pixels_of(tmp_path / "expected.png")
        )


def test_plain_weights_differ_from_the_average(trained, enface, tmp_path):
    from enface.training.checkpoint import load
    from enface.training.run import latest_checkpoint

    saved = load(latest_checkpoint(trained.run))
    assert saved.part("ema")
    image = trained.images[0]
    enface("apply", trained.run, image, "--out", tmp_path / "average")
    enface("apply", trained.run, image, "--out", tmp_path / "raw", "--raw")
    name = f"{Path(image).stem}.png"
    assert (pixels_of(tmp_path / "raw" / name) != pixels_of(tmp_path / "average" / name)).any()


def test_an_earlier_checkpoint_can_be_used(trained, enface, tmp_path):
    first = trained.run / "checkpoints" / "step-00000020.safetensors"
    image = trained.images[0]
    enface("apply", trained.run, image, "--out", tmp_path / "last")
    outcome = enface("apply", trained.run, image, "--out", tmp_path / "first", "--checkpoint", first)
    assert outcome.code == 0, outcome.err
    name = f"{Path(image).stem}.png"
    assert (pixels_of(tmp_path / "first" / name) != pixels_of(tmp_path / "last" / name)).any()


def test_folders_any_size_and_a_grid(trained, enface, tmp_path):
    for number, size in enumerate([(300, 40), (1, 1), (33, 500)]):
        (tmp_path / "in" / "deep").mkdir(parents=True, exist_ok=True)
        Image.new("L", size, 80 * number).save(tmp_path / "in" / "deep" / f"{number}.jpg")
    for fit in ("stretch", "crop", "pad"):
        out = tmp_path / fit
        outcome = enface("apply", trained.run, tmp_path / "in", "--out", out, "--fit", fit, "--grid", "--batch", 2)
        assert outcome.code == 0, outcome.err
        assert sorted(path.relative_to(out).as_posix() for path in out.rglob("*.png")) == [
            *(f"deep/{number}.png" for number in range(3)),
            "grid.png",
        ]
        assert pixels_of(out / "deep/0.png").shape == (32, 32, 3)
        assert pixels_of(out / "grid.png").shape == (64, 3 * 32 + 2 * 4, 3)


def test_the_fits_differ_for_images_that_are_not_square(trained, enface, tmp_path):
    name, image = f"{Path(trained.images[0]).stem}.png", trained.images[0]
    outputs = []
    for fit in ("stretch", "crop", "pad"):
        enface("apply", trained.run, image, "--out", tmp_path / fit, "--fit", fit)
        outputs.append(pixels_of(tmp_path / fit / name))
    assert all((outputs[first] != outputs[second]).any() for first, second in ((0, 1), (0, 2), (1, 2)))


def test_apply_in_python_returns_the_files_and_prints_nothing(trained, tmp_path, capsys):
    from enface_tools.inference.apply import apply

    names = [f"{Path(image).stem}.png" for image in trained.images]
    paths = apply(str(trained.run), trained.images, tmp_path / "out", device="cpu")
    assert paths == [tmp_path / "out" / name for name in names]
    for path, expected in zip(paths, trained.expected, strict=True):
        save_image(expected, tmp_path / "expected.png")
        np.testing.assert_array_equal(pixels_of(path), pixels_of(tmp_path / "expected.png"))
    (path,) = apply(trained.run, trained.images[0], grid=True, batch=1, fit="pad", average=False, device="cpu")
    assert path == trained.run / "outputs" / names[0]
    assert sorted(item.name for item in path.parent.iterdir()) == sorted([names[0], "grid.png"])
    shutil.rmtree(path.parent)
    assert capsys.readouterr() == ("", "")


def test_apply_in_python_raises_errors(trained, tmp_path):
    from enface import DataError, EnfaceError
    from enface_tools.inference.apply import apply

    with pytest.raises(EnfaceError, match="is not a run directory"):
        apply(tmp_path, trained.images[0])
    with pytest.raises(EnfaceError, match="no fit is called 'squeeze'; known: crop, pad, stretch"):
        apply(trained.run, trained.images[0], tmp_path / "out", fit="squeeze")
    (tmp_path / "broken.png").write_bytes(b"no image")
    with pytest.raises(DataError, match="1 of 2 images could not be read"):
        apply(trained.run, [tmp_path / "broken.png", trained.images[0]], tmp_path / "out", device="cpu")
    assert [path.name for path in (tmp_path / "out").iterdir()] == [f"{Path(trained.images[0]).stem}.png"]


def test_unreadable_images_are_named_counted_and_skipped(trained, enface, tmp_path):
    (tmp_path / "in").mkdir()
    for number in range(3):
        shutil.copy(trained.images[0], tmp_path / "in" / f"{number}.png")
    (tmp_path / "in/1.png").write_bytes(b"no image")
    outcome = enface("apply", trained.run, tmp_path / "in", "--out", tmp_path / "out")
    assert outcome.code == 2
    assert f"2 images written to {tmp_path / 'out'}" in outcome.out
    assert "1 of 3 images could not be read" in outcome.err
    assert str(tmp_path / "in/1.png") in outcome.err
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["0.png", "2.png"]


def test_mistakes_are_reported_before_anything_is_written(trained, enface, tmp_path):
    (tmp_path / "a").mkdir()
    for name in ("a/1.png", "1.jpg"):
        Image.new("RGB", (40, 40)).save(tmp_path / name)
    one, out, stranger = tmp_path / "a/1.png", tmp_path / "out", tmp_path / "strange.safetensors"
    stranger.write_bytes(b"x")
    for arguments, message in [
        ([one, tmp_path / "1.jpg"], "would both be written to"),
        ([tmp_path / "gone.png"], "does not exist"),
        ([one, "--checkpoint", stranger], "truncated or damaged"),
        ([one, "--checkpoint", tmp_path / "gone"], "does not exist"),
        ([one, "--layers"], "has no layers"),
        ([one, "--layers", "--size", "native", "--tile", 32], "layers are not drawn in tiles"),
    ]:
        outcome = enface("apply", trained.run, *arguments, "--out", out)
        assert (outcome.code, out.exists()) == (2, False)
        assert message in outcome.err
    outcome = enface("apply", trained.run, one, "--out", tmp_path / "a")
    assert (outcome.code, "would overwrite the input" in outcome.err) == (2, True)
    outcome = enface("apply", tmp_path, one, "--out", out)
    assert (outcome.code, "is not a run directory" in outcome.err) == (2, True)
    assert enface("apply", trained.run, "--out", out).code == 2
    assert enface("apply", trained.run, one, "--out", out, "--fit", "squeeze").code == 2


def test_a_run_without_checkpoint_or_of_another_size_is_refused(trained, enface, tmp_path):
    bare = tmp_path / "bare"
    bare.mkdir()
    text = (trained.run / "recipe.yaml").read_text(encoding="utf-8")
    (bare / "recipe.yaml").write_text(text, encoding="utf-8")
    outcome = enface("apply", bare, trained.images[0], "--out", tmp_path / "out")
    assert (outcome.code, "has no checkpoint yet" in outcome.err) == (2, True)
    shutil.copytree(trained.run / "checkpoints", bare / "checkpoints")
    (bare / "recipe.yaml").write_text(text.replace("size: 32", "size: 64"), encoding="utf-8")
    for arguments in (["apply", bare, trained.images[0], "--out", tmp_path / "out"], ["export", bare]):
        outcome = enface(*arguments)
        assert (outcome.code, "trained with data.size: [32, 32]" in outcome.err) == (2, True)
    assert not (bare / "export").exists()


def test_an_export_is_written_to_the_run_and_gives_the_outputs_of_apply(trained, enface, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    outcome = enface("export", trained.run)
    assert outcome.code == 0, outcome.err
    folder = trained.run / "export"
    assert sorted(path.name for path in folder.iterdir()) == ["export.json", "generator.onnx", "generator.pt2"]
    assert outcome.out.strip().splitlines()[-1].endswith(f"written to {folder}")
    assert len(outcome.out.strip().splitlines()) == 3
    assert outcome.err == ""
    content = json.loads((folder / "export.json").read_text())
    assert (content["step"], content["running_average"]) == (60, True)

    enface("apply", trained.run, *trained.images, "--out", tmp_path / "out")
    # The recipe crops: 40 to 45 pixels wide, 50 tall.
    boxes = [(0, (50 - side) // 2, side, (50 - side) // 2 + side) for side in map(width_of, trained.images)]
    resized = [
        Image.open(path).convert("RGB").crop(box).resize((32, 32), Image.Resampling.LANCZOS)
        for path, box in zip(trained.images, boxes, strict=True)
    ]
    source = np.stack(resized).transpose(0, 3, 1, 2).astype(np.float32) / 127.5 - 1
    session = onnxruntime.InferenceSession(str(folder / "generator.onnx"), providers=["CPUExecutionProvider"])
    with torch.inference_mode():
        program = torch.export.load(folder / "generator.pt2").module()(torch.from_numpy(source)).numpy()
    for output in (session.run(None, {"source": source})[0], program):
        pixels = np.floor((output + 1) / 2 * 255 + 0.5).astype(np.int64)
        for image, output_pixels in zip(trained.images, pixels.transpose(0, 2, 3, 1), strict=True):
            expected = pixels_of(tmp_path / "out" / f"{Path(image).stem}.png").astype(np.int64)
            assert expected.std() > 2
            assert np.abs(output_pixels - expected).max() <= 1


def test_one_format_of_the_plain_weights_is_written_to_another_folder(trained, enface, tmp_path):
    outcome = enface("export", trained.run, "--out", tmp_path / "e", "--raw", "--format", "torch")
    assert outcome.code == 0, outcome.err
    assert sorted(path.name for path in (tmp_path / "e").iterdir()) == ["export.json", "generator.pt2"]
    assert json.loads((tmp_path / "e/export.json").read_text())["running_average"] is False


def test_without_onnx_the_missing_packages_are_named(trained, enface, tmp_path, monkeypatch):
    import importlib.util

    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *more: None)
    outcome = enface("export", trained.run, "--out", tmp_path / "e")
    assert outcome.code == 2
    assert 'pip install "enface[export]"' in outcome.err
    assert not (tmp_path / "e").exists()


def test_the_options_name_all_fits_and_formats():
    from typing import get_args

    from enface.recipe import models
    from enface_tools.inference.apply import SIZES
    from enface_tools.inference.command import Fit, Format, Size
    from enface_tools.inference.export import FILES, READERS, WRITERS

    assert tuple(item.value for item in Fit) == get_args(models.Fit)
    assert tuple(item.value for item in Size) == SIZES
    assert {item.value for item in Format} == set(FILES) == set(READERS) == set(WRITERS)
