"""Exported files equal the network, or are not written."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import logging
import warnings
from dataclasses import replace
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
import torch

from enface.errors import EnfaceError
from enface.plugin.components import DataInfo, Generator
from enface.training.build import build_generator, values_of
from enface.training.checkpoint import Checkpoint, digest
from enface_tools.inference import export
from enface_tools.inference.export import Exporter

INFO = DataInfo.square(32, {"pose": 5, "light": 2})
PATH = Path("checkpoints/step-00000007.safetensors")


@pytest.fixture
def exporter(load):
    """Build an exporter of a network whose outputs are spread over the whole range, as after training."""

    def build(
        generator, network=None, raw=False, places=("generator",), size=(32, 32), variance=(0.001, 0.01), **options
    ):
        loaded = load({"generator": generator, "data": {"size": [*size]}})
        module = network or build_generator(loaded, replace(INFO, size=size))
        torch.manual_seed(1)
        for name, value in module.state_dict().items():
            if name.endswith("running_mean"):
                value.normal_(0, 0.1)
            elif name.endswith("running_var"):
                value.uniform_(*variance)
            elif value.dim() == 4:
                value.normal_(0, 0.1)
        module.eval().requires_grad_(False)
        tensors = {f"{place}/x": torch.zeros(1) for place in places}
        return Exporter(loaded.recipe, module, Checkpoint(PATH, tensors, {"step": 7}), raw, **options)

    return build


def onnx_call(path):
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return lambda source: torch.from_numpy(session.run(None, {"source": source.numpy()})[0])


@pytest.mark.parametrize(
    "generator",
    [
        {"use": "siamese", "width": 0.125},
        {"use": "siamese", "width": 0.125, "decoder": "bilinear"},
        {"use": "unet", "width": 8, "dropout": 0.5},
        {"use": "unet", "width": 8, "norm": "batch"},
    ],
    ids=["siamese", "siamese-bilinear", "unet", "unet-batch"],
)
def test_both_files_give_the_networks_outputs(exporter, generator, tmp_path):
    pytest.importorskip("onnxruntime")
    export_network = exporter(generator)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        content = export_network(tmp_path / "out", ["onnx", "torch"])
    files = {"onnx": onnx_call(tmp_path / "out/generator.onnx")}
    files["torch"] = torch.export.load(tmp_path / "out/generator.pt2").module()
    for count in (1, 2, 5):
        source = torch.rand(count, 3, 32, 32) * 2 - 1
        expected = values_of(export_network.network, {"source": source}.__getitem__)["output"]
        assert expected.std() > 0.05, "similar outputs would hide a difference"
        for call in files.values():
            with torch.inference_mode():
                assert (call(source) - expected).abs().max() < 1e-4
    assert all(0 <= content["largest_difference"][kind] < 1e-4 for kind in ("onnx", "torch"))


WARP = {"use": "warp", "trunk": {"use": "unet", "width": 4, "depth": 3}, "levels": 2, "features": 4}
# With a smaller variance the flow leaves the image by thousands of pixels, which magnifies rounding.
MODERATE = (0.5, 1.5)


@pytest.mark.parametrize(
    ("params", "size"),
    [({"features": 0}, (32, 32)), ({"levels": 1}, (32, 48)), ({"levels": 3}, (45, 33))],
    ids=["levels", "features", "odd"],
)
def test_the_files_of_a_warping_generator_give_its_outputs_at_all_sizes(exporter, params, size, tmp_path):
    pytest.importorskip("onnxruntime")
    export_network = exporter({**WARP, **params}, size=size, variance=MODERATE)
    content = export_network(tmp_path, ["onnx", "torch"])
    assert content["source"]["shape"][2:] == [f"height, at least {size[0]}", f"width, at least {size[1]}"]
    files = [onnx_call(tmp_path / "generator.onnx"), torch.export.load(tmp_path / "generator.pt2").module()]
    for count, higher, wider in ((1, 0, 0), (3, 0, 0), (1, 19, 32)):
        source = torch.rand(count, 3, size[0] + higher, size[1] + wider) * 2 - 1
        with torch.inference_mode():
            provided = export_network.network(frozenset({"output", "flow"}), source=source)
            assert provided["flow"].abs().mean() > 0.5, "an image that is not moved would hide a difference"
            for call in files:
                assert (call(source) - provided["output"]).abs().max() < 1e-4


def opset_of(path: Path) -> int:
    import onnx

    (opset,) = (item.version for item in onnx.load(path).opset_import if not item.domain)
    return opset


@pytest.mark.parametrize("opset", [None, 16])
def test_the_opset_is_that_of_the_option(exporter, opset, tmp_path):
    pytest.importorskip("onnxruntime")
    export_network = exporter(WARP, opset=opset, variance=MODERATE)
    content = export_network(tmp_path, ["onnx"])
    assert content["opset"] == opset_of(tmp_path / "generator.onnx")
    assert opset in (None, content["opset"])
    source = torch.rand(2, 3, 32, 32) * 2 - 1
    expected = values_of(export_network.network, {"source": source}.__getitem__)["output"]
    assert (onnx_call(tmp_path / "generator.onnx")(source) - expected).abs().max() < 1e-4


@pytest.mark.parametrize(
    ("opset", "message"),
    [
        (
            15,
            r"--opset 15: generator warp cannot be written \(GridSample needs 16\); .*that works is 16",
        ),
        (1000, r"--opset 1000: onnx .* knows opsets up to \d+; use one of these"),
    ],
)
def test_an_opset_that_cannot_hold_the_network_is_refused(exporter, opset, message, tmp_path):
    pytest.importorskip("onnxruntime")
    with pytest.raises(EnfaceError, match=message):
        exporter({**WARP, "levels": 1, "features": 0}, opset=opset)(tmp_path / "out", ["torch", "onnx"])
    assert not (tmp_path / "out").exists()


def test_an_opset_that_the_exporter_cannot_convert_to_is_refused(exporter, tmp_path):
    """Every operator of the U-Net is in opset 14, but onnx does not convert its Pad or ReduceMean from 18 to it."""
    pytest.importorskip("onnxruntime")
    with pytest.raises(EnfaceError, match=r"--opset 14: .* \(the exporter cannot convert it\).* works is 1[5-8]"):
        exporter({"use": "unet", "width": 4, "depth": 2}, opset=14)(tmp_path / "out", ["onnx"])


def test_an_opset_without_onnx_or_of_a_network_that_no_opset_holds(exporter, tmp_path):
    with pytest.raises(EnfaceError, match="--opset is a version of ONNX operators; add --format onnx, or remove it"):
        exporter({"use": "unet", "width": 4}, opset=18)(tmp_path / "out", ["torch"])
    pytest.importorskip("onnxruntime")
    with pytest.raises(EnfaceError, match="unet cannot be exported"):
        exporter({"use": "unet", "width": 4}, network=DataDependent(), opset=15)(tmp_path / "out", ["onnx"])


def test_the_metadata_describe_inputs_outputs_and_files(exporter, tmp_path):
    export_network = exporter({"use": "unet", "width": 4}, places=("generator", "ema"))
    content = export_network(tmp_path, ["torch"])
    assert json.loads((tmp_path / "export.json").read_text()) == content
    assert content["source"]["shape"] == content["output"]["shape"] == ["batch", 3, 32, 32]
    assert content["source"]["range"] == [-1, 1]
    assert content["source"]["colors"] == "RGB"
    assert content["resize"] == {
        "fit": "crop",
        "to": [32, 32],
        "filter": "lanczos",
        "keep_aspect": True,
        "crop_middle": [32, 32],
    }
    assert (content["step"], content["checkpoint"]) == (7, "step-00000007.safetensors")
    assert content["digest"] == digest(export_network.network)
    assert content["versions"]["torch"] == metadata.version("torch")
    written = (tmp_path / "generator.pt2").read_bytes()
    assert content["files"] == {"generator.pt2": {"bytes": len(written), "sha256": hashlib.sha256(written).hexdigest()}}
    assert content["running_average"] is True
    plain = exporter({"use": "unet", "width": 4}, places=("generator", "ema"), raw=True)
    assert plain(tmp_path, ["torch"])["running_average"] is False
    assert sorted(path.name for path in tmp_path.iterdir() if path.suffix != ".yaml") == [
        "export.json",
        "generator.pt2",
    ]


def test_the_formulas_of_the_metadata_hold():
    from enface_tools.evaluate.grid import to_samples
    from enface_tools.evaluate.measure import unit

    pixels = np.arange(256)
    source = (pixels.astype(np.float32) / np.float32(127.5) - 1).reshape(1, 1, 16, 16)
    back = np.floor((source + 1) / 2 * 255 + 0.5)
    np.testing.assert_array_equal(back.ravel(), pixels)
    np.testing.assert_array_equal(to_samples(unit(torch.from_numpy(source)), 8).ravel(), pixels)


class Noisy(Generator):
    """Its output differs at every call."""

    def forward(self, wants, source):
        return {"output": source * 0.5 + torch.rand_like(source) * 0.1}


class NotFinite(Generator):
    """Its output is NaN."""

    def forward(self, wants, source):
        return {"output": source * float("nan")}


class DataDependent(Generator):
    """Its control flow depends on the pixels."""

    def forward(self, wants, source):
        return {"output": source if float(source.sum()) > 0 else -source}


class TwoImages(Generator):
    """Accepts batches of two images only."""

    def forward(self, wants, source):
        assert source.shape[0] == 2
        return {"output": source}


@pytest.mark.parametrize("kind", export.FILES)
@pytest.mark.parametrize(
    ("network", "message"),
    [
        (Noisy, "differs from the network by"),
        (NotFinite, "differs from the network by nan"),
        (DataDependent, "cannot be exported"),
    ],
)
def test_a_failed_export_leaves_earlier_files_alone(exporter, network, message, kind, tmp_path):
    if kind == "onnx":
        pytest.importorskip("onnxruntime")
    out = tmp_path / "out"
    out.mkdir()
    (out / export.FILES[kind]).write_text("earlier")
    export_network = exporter({"use": "unet", "width": 4}, network=network())
    with pytest.raises(EnfaceError, match=message):
        export_network(out, [kind])
    assert [path.name for path in out.iterdir()] == [export.FILES[kind]]
    assert (out / export.FILES[kind]).read_text() == "earlier"


def test_a_network_for_one_batch_size_is_refused(exporter, tmp_path):
    with pytest.raises(EnfaceError, match="cannot be exported"):
        exporter({"use": "unet", "width": 4}, network=TwoImages())(tmp_path / "out", ["torch"])


def test_outputs_beyond_the_range_are_clipped(exporter, tmp_path):
    class Loud(Generator):
        def forward(self, wants, source):
            return {"output": 4 * source}

    exporter({"use": "unet", "width": 4}, network=Loud())(tmp_path, ["torch"])
    source = torch.full((1, 3, 32, 32), 0.9)
    assert torch.export.load(tmp_path / "generator.pt2").module()(source).max() == 1


@pytest.mark.parametrize("missing", export.ONNX_PACKAGES)
def test_missing_packages_are_named_before_any_work(exporter, missing, monkeypatch, tmp_path):
    export_network = exporter({"use": "unet", "width": 4})
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *more: None if name == missing else real(name, *more))
    with pytest.raises(EnfaceError, match=rf'ONNX needs {missing}, .*pip install "enface\[export\]"'):
        export_network(tmp_path / "out", ["torch", "onnx"])
    assert not (tmp_path / "out").exists()
    assert export_network(tmp_path / "out", ["torch"])["files"].keys() == {"generator.pt2"}


def test_the_exporter_leaves_logging_as_it_was(exporter, tmp_path):
    with pytest.raises(EnfaceError):
        exporter({"use": "unet", "width": 4}, network=DataDependent())(tmp_path / "out", ["torch"])
    assert logging.root.manager.disable == 0


def test_a_folder_that_cannot_be_created_is_named(exporter, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(EnfaceError, match=r"cannot write to .*file/out"):
        exporter({"use": "unet", "width": 4})(tmp_path / "file/out", ["torch"])
