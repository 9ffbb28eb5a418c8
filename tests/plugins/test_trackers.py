"""Trackers: silent unless named, one tracker run for a resumed run, files at the end, and no effect on training."""

from __future__ import annotations

import importlib.util
import json
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file

from enface_plugins.observers import mlflow, trackio, wandb

CONTENT = {
    "stages": {"main": {"steps": 4, "batch": 2, "terms": {"l1": {"use": "charbonnier"}}}},
    "metrics": {"mae": {}},
}
TRACKERS = {"mlflow": mlflow.plugin, "trackio": trackio.plugin, "wandb": wandb.plugin}


def content(*observers, **log):
    keys = {"every": 1, "checkpoint": 2, "validate": 2, "samples": 2, "keep": 3, "observers": list(observers), **log}
    return {**CONTENT, "log": keys}


def log(directory, event):
    lines = [json.loads(line) for line in (directory / "log.jsonl").read_text().splitlines()]
    return [line for line in lines if line["event"] == event]


def needs(package):
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed: pip install 'enface[{package}]'")


@pytest.fixture
def run(recipe, enface, tmp_path):
    """Run a recipe; resume its run with ``resume=True``; return the run's directory."""

    def call(keys, *words):
        outcome = enface("run", recipe(keys), "--runs", tmp_path / "runs", *words)
        assert outcome.code == 0, outcome.err
        (directory,) = (tmp_path / "runs").glob("toy/*")
        return directory

    return call


def resume(run, keys):
    """Train a run, lose its last checkpoint, and train the rest again."""
    directory = run(keys)
    (directory / "checkpoints" / "step-00000004.safetensors").unlink()
    run(keys, "--resume")
    return directory


class Recorder:
    """Replaces the calls of a tracker by a list of them."""

    def __init__(self, tracker, monkeypatch):
        self.calls, self.opened, self.uploaded = [], [], {}
        monkeypatch.setattr(tracker, "package", lambda: None)
        monkeypatch.setattr(tracker, "open", self.open)
        monkeypatch.setattr(tracker, "scalars", lambda values, step: self.calls.append((step, dict(values))))
        monkeypatch.setattr(tracker, "images", lambda pictures, step: self.calls.append((step, dict(pictures))))
        monkeypatch.setattr(tracker, "upload", self.upload)
        monkeypatch.setattr(tracker, "close", lambda completed: self.calls.append(("end", completed)))

    def open(self, run, identity):
        self.opened.append(identity)
        return identity or f"id-{len(self.opened)}"

    def upload(self, run, paths):
        self.uploaded = {name: path.relative_to(run.directory).as_posix() for name, path in paths.items()}
        assert all(path.exists() for path in paths.values())

    def steps(self, name):
        return [step for step, values in self.calls if isinstance(values, dict) and name in values]


@pytest.fixture
def recorder(monkeypatch):
    return Recorder(wandb.plugin, monkeypatch)


def test_an_installed_tracker_stays_silent_unless_it_is_named(run, monkeypatch):
    recorders = [Recorder(tracker, monkeypatch) for tracker in TRACKERS.values()]
    keys = content()
    del keys["log"]["observers"]
    directory = run(keys)
    assert [item.calls + item.opened for item in recorders] == [[], [], []]
    # The others are on by default.
    assert (directory / "tensorboard").is_dir()
    assert not [path for path in directory.iterdir() if path.stem in TRACKERS]


def test_a_tracker_receives_values_pictures_and_files(run, recorder):
    directory = run(content("wandb", best="mae"))
    assert recorder.opened == [None]
    assert recorder.steps("loss/l1/charbonnier") == recorder.steps("lr/generator") == [1, 2, 3, 4]
    assert recorder.steps("metric/mae") == [2, 4]
    assert recorder.steps("final/test/mae") == [4]
    assert recorder.steps("output") == [0, 2, 4]
    (shown,) = [values["source"] for step, values in recorder.calls if step == 4 and "source" in values]
    # There is one person of validation.
    assert (shown.shape, str(shown.dtype)) == ((32, 32, 3), "uint8")
    (step,) = log(directory, "step")[-1:]
    logged = next(values for number, values in recorder.calls if number == 4 and "loss/l1/charbonnier" in values)
    assert logged["loss/l1/charbonnier"] == step["values"]["term/l1"]
    assert recorder.uploaded == {
        "recipe": "recipe.yaml",
        "report": "report",
        "evaluation-test": "evaluation/summary.json",
        "evaluation-val": "evaluation/val/summary.json",
    }
    assert recorder.calls[-1] == ("end", True)


def test_checkpoints_are_uploaded_if_the_user_wants_them(run, recorder, monkeypatch):
    monkeypatch.setenv("ENFACE_TRACK_CHECKPOINTS", "1")
    run(content("wandb", best="mae"))
    assert recorder.uploaded["checkpoint-last"] == "checkpoints/step-00000004.safetensors"
    assert recorder.uploaded["checkpoint-best"] == "checkpoints/best.safetensors"


def test_a_resumed_run_continues_its_tracker_run_and_repeats_nothing(run, recorder):
    directory = resume(run, content("wandb"))
    assert recorder.opened == [None, "id-1"]
    assert json.loads((directory / "wandb.json").read_text())["id"] == "id-1"
    assert recorder.steps("loss/l1/charbonnier") == [1, 2, 3, 4]
    assert recorder.steps("metric/mae") == [2, 4]
    assert recorder.steps("final/test/mae") == [4]


def test_a_tracker_that_fails_does_not_end_the_training(recipe, enface, tmp_path, monkeypatch, recorder):
    def broken(values, step):
        raise ConnectionError("server is down")

    monkeypatch.setattr(wandb.plugin, "scalars", broken)
    outcome = enface("run", recipe(content("wandb", "progress")), "--runs", tmp_path / "runs")
    assert outcome.code == 0, outcome.err
    # Reported once.
    assert outcome.out.count("wandb failed, and logs no more of this run: ConnectionError: server is down") == 1
    assert recorder.calls[-1] == ("end", True)
    assert recorder.uploaded == {}


def test_a_tracker_that_cannot_start_is_refused(recipe, enface, tmp_path, monkeypatch, recorder):
    def refused(run, identity):
        raise RuntimeError("no API key")

    monkeypatch.setattr(wandb.plugin, "open", refused)
    outcome = enface("run", recipe(content("wandb")), "--runs", tmp_path / "runs")
    assert outcome.code == 2
    assert "error: log.observers: wandb cannot start: no API key" in outcome.err


@pytest.mark.parametrize("name", TRACKERS)
def test_a_missing_package_is_named_with_its_extra_before_anything_is_trained(
    recipe, enface, tmp_path, monkeypatch, name
):
    monkeypatch.setitem(sys.modules, name, None)
    outcome = enface("run", recipe(content(name)), "--runs", tmp_path / "runs")
    assert outcome.code == 2
    assert f'error: log.observers: {name} is not installed: pip install "enface[{name}]"' in outcome.err
    assert not (tmp_path / "runs").exists()


def test_importing_trackers_imports_no_slow_package():
    code = (
        "import sys, enface_plugins.observers.wandb, enface_plugins.observers.mlflow\n"
        "import enface_plugins.observers.trackio\n"
        "print(*{'wandb', 'mlflow', 'trackio', 'torch', 'PIL', 'numpy'} & set(sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "\n"


# ---------------------------------------------------------------------- the libraries themselves


@pytest.fixture
def stores(tmp_path, monkeypatch):
    """Each library writes to a folder of the test."""
    monkeypatch.chdir(tmp_path)
    for name, value in {
        "WANDB_DATA_DIR": tmp_path / "data",
        "WANDB_CACHE_DIR": tmp_path / "cache",
        "WANDB_CONFIG_DIR": tmp_path / "config",
        "MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path}/mlflow.db",
        "TRACKIO_DIR": tmp_path / "trackio",
    }.items():
        monkeypatch.setenv(name, str(value))
    return tmp_path


@pytest.mark.parametrize("name", TRACKERS)
def test_a_tracker_changes_no_bit_of_the_training(run, stores, name, tmp_path):
    needs(name)
    first = load_file(run(content()) / "checkpoints" / "step-00000004.safetensors")
    (tmp_path / "runs" / "toy").rename(tmp_path / "before")
    second = load_file(run(content(name)) / "checkpoints" / "step-00000004.safetensors")
    assert first.keys() == second.keys()
    assert all(first[key].equal(second[key]) for key in first)


def leveldb_records(data):
    """Records of a LevelDB log: blocks of 32 KiB; each part has a checksum, a length and a kind (1, or 2 3 4)."""
    place, whole = 7, b""
    while place + 7 <= len(data):
        if 32768 - place % 32768 < 7:
            place += 32768 - place % 32768
            continue
        length, kind = struct.unpack("<HB", data[place + 4 : place + 7])
        whole += data[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):
            yield whole
            whole = b""


def wandb_records(file):
    """History of an offline run's file as values by tag, and its other records."""
    from google.protobuf.json_format import MessageToDict
    from wandb.proto.wandb_internal_pb2 import Record

    history, others = [], []
    for data in leveldb_records(file.read_bytes()):
        record = Record.FromString(data)
        if record.WhichOneof("record_type") == "history":
            items = {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in record.history.item}
            history.append({**items, "_step": record.history.step.num})
        else:
            others.append(MessageToDict(record, preserving_proto_field_name=True))
    return history, others


def test_wandb_offline(run, stores):
    needs("wandb")
    directory = resume(run, content("wandb"))
    identity = json.loads((directory / "wandb.json").read_text())["id"]
    first, second = sorted((directory / "wandb").glob(f"offline-run-*-{identity}*/run-{identity}.wandb"))
    history, others = wandb_records(first)
    losses = {item["_step"]: item["loss/l1/charbonnier"] for item in history if "loss/l1/charbonnier" in item}
    assert losses == {line["step"]: line["values"]["term/l1"] for line in log(directory, "step")}
    assert [item["_step"] for item in history if "metric/mae" in item] == [2, 4]
    assert [item["_step"] for item in history if "final/test/mae" in item] == [4]
    widths = [(item["_step"], item["samples/output/width"]) for item in history if "samples/output/width" in item]
    assert widths == [(0, 32), (2, 32), (4, 32)]
    assert [item["run"]["display_name"] for item in others if "run" in item] == [f"toy/{directory.name}"]
    # The resumed part repeats nothing.
    assert not [item for item in wandb_records(second)[0] if "loss/l1/charbonnier" in item]
    manifests = [item["artifact"]["manifest"] for item in others if "artifact" in item]
    contents = {entry["path"] for manifest in manifests for entry in manifest["contents"]}
    assert {"recipe.yaml", "report/index.html", "evaluation/summary.json"} <= contents


def test_mlflow_in_a_local_store(run, stores, monkeypatch):
    needs("mlflow")
    import mlflow as library

    monkeypatch.setenv("ENFACE_TRACK_CHECKPOINTS", "1")
    directory = resume(run, content("mlflow"))
    client = library.MlflowClient()
    (tracked,) = client.search_runs([client.get_experiment_by_name("enface").experiment_id])
    assert (tracked.info.run_name, tracked.info.status) == (f"toy/{directory.name}", "FINISHED")
    assert tracked.data.params["stages.main.terms.l1.use"] == "charbonnier"
    identity = tracked.info.run_id
    losses = [(item.step, item.value) for item in client.get_metric_history(identity, "loss/l1/charbonnier")]
    assert losses == [(line["step"], line["values"]["term/l1"]) for line in log(directory, "step")]
    assert [item.step for item in client.get_metric_history(identity, "final/test/mae")] == [4]
    kept = Path(client.download_artifacts(identity, ""))
    for name in (
        "recipe.yaml",
        "evaluation/summary.json",
        "report/index.html",
        "checkpoints/step-00000004.safetensors",
    ):
        assert (kept / name).read_bytes() == (directory / name).read_bytes()
    assert len([path for path in (kept / "images").iterdir() if "output" in path.name and path.suffix == ".png"]) == 3


def test_trackio_in_a_local_folder(recipe, stores, tmp_path):
    needs("trackio")
    keys = content("trackio")
    enface = (sys.executable, "-m", "enface", "run", recipe(keys), "--runs", tmp_path / "runs")
    # Trackio reads its folder from the environment only once.
    subprocess.run(list(map(str, enface)), check=True, capture_output=True)
    (directory,) = (tmp_path / "runs").glob("toy/*")
    (directory / "checkpoints" / "step-00000004.safetensors").unlink()
    outcome = subprocess.run([*map(str, enface), "--resume"], check=True, capture_output=True, text=True)
    assert "Resumed existing run" in outcome.stdout
    assert trackio_json("list", "runs")["runs"] == [f"toy/{directory.name}"]
    words = ("--run", f"toy/{directory.name}", "--metric")
    losses = trackio_json("get", "metric", *words, "loss/l1/charbonnier")["values"]
    trained = [(line["step"], line["values"]["term/l1"]) for line in log(directory, "step")]
    assert [(item["step"], item["value"]) for item in losses] == trained
    assert [item["step"] for item in trackio_json("get", "metric", *words, "final/test/mae")["values"]] == [4]


def trackio_json(*words):
    command = [sys.executable, "-m", "trackio.cli", *words, "--project", "enface", "--json"]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
