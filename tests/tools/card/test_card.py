"""Model cards and the hub layout: figures as evaluated, nothing private in the files, no upload that nobody ordered."""

from __future__ import annotations

import json
import shutil
import socket
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from safetensors import safe_open

HOSTILE = "<img src=x onerror=alert(1)> | [x](http://x)"
STAGE = {"steps": 4, "batch": 2, "ema": 0.5, "terms": {"l1": {"use": "charbonnier", "weight": 3}}}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A small run, evaluated on its test person."""
    from enface import train
    from enface_tools.evaluate.run import evaluate

    folder = tmp_path_factory.mktemp("card")
    toy = Path(__file__).parents[2] / "support" / "toy.yaml"
    keys = {"extends": str(toy), "name": "toy", "stages": {"main": STAGE}, "log": {"observers": []}}
    (folder / "r.yaml").write_text(yaml.safe_dump(keys))
    run = train(folder / "r.yaml", runs=folder / "runs")
    assert evaluate(run, split="test")
    return run.directory


@pytest.fixture
def run(trained, tmp_path):
    return Path(shutil.copytree(trained, tmp_path / "runs" / "toy" / "1"))


def change_summary(run, change):
    path = run / "evaluation" / "summary.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def card_of(enface, run):
    outcome = enface("card", run)
    assert outcome.code == 0, outcome.err
    return (run / "card.md").read_text(encoding="utf-8")


def header_of(card):
    _, header, _ = card.split("---\n", 2)
    return yaml.safe_load(header)


def test_the_card_states_the_figures_with_intervals_and_baselines(run, enface):
    def change(content):
        content["metrics"]["mae"] |= {
            **{"mean": 0.1234, "low": 0.1111, "high": 0.1357, "baselines": {"source": 0.2, "mean_target": 0.15}},
            "gains": {
                "source": {"mean": -0.0766, "low": -0.09, "high": -0.06},
                "mean_target": {"mean": -0.0266, "low": -0.04, "high": -0.01},
            },
        }

    change_summary(run, change)
    card = card_of(enface, run)
    (row,) = [line for line in card.splitlines() if line.startswith("| mae ")]
    assert row == "| mae | lower is better | 0.123 [0.111, 0.136] | 0.200 | 0.150 | better |"
    header = header_of(card)
    assert "license" not in header
    assert (header["library_name"], header["pipeline_tag"]) == ("enface", "image-to-image")
    (result,) = header["model-index"][0]["results"]
    assert result["metrics"] == [{"type": "mae", "name": "mae", "value": 0.1234, "verified": False}]
    assert result["dataset"] == {"type": "toy_faces", "name": "toy_faces", "split": "test"}
    assert "| main | 4 | 2 | adam lr: 0.001 | l1 (charbonnier) x 3.0 | decay 0.5 |" in card
    assert "| split | train: 4, val: 1, test: 1 |" in card
    assert "Fewer than 5 people have no intervals" in card
    assert "running average of the weights" in card


def test_the_hub_reads_the_header(run, enface):
    hub = pytest.importorskip("huggingface_hub", reason="pip install 'enface[hub]'")
    data = hub.ModelCard(card_of(enface, run)).data
    assert data.library_name == "enface"
    assert [item.metric_type for item in data.eval_results] == ["mae"]


def test_names_from_files_cannot_add_markup(run, enface):
    change_summary(run, lambda content: content["caveats"].append(HOSTILE))
    card = card_of(enface, run)
    assert r"\<img src=x onerror=alert(1)\> \| \[x\](http://x)" in card
    assert HOSTILE not in card


def test_a_run_without_an_evaluation_has_no_card(run, enface):
    shutil.rmtree(run / "evaluation")
    outcome = enface("card", run)
    assert outcome.code == 2
    assert outcome.err.startswith(f"error: {run} was not evaluated; run: enface evaluate")


def test_the_card_of_validation_people_says_that_they_are_optimistic(run, enface):
    (run / "evaluation" / "summary.json").unlink()
    assert "the figures are optimistic" in card_of(enface, run)


# ---------------------------------------------------------------------- the layout


@pytest.fixture
def no_network(monkeypatch):
    def refused(*_):
        raise AssertionError("the network was used")

    monkeypatch.setattr(socket.socket, "connect", refused)
    monkeypatch.delenv("ENFACE_OFFLINE", raising=False)


def test_the_layout_is_written_without_a_network_and_applies_like_the_run(run, enface, no_network, tmp_path):
    hub = tmp_path / "hub"
    outcome = enface("push", run, "--out", hub)
    assert outcome.code == 0, outcome.err
    files = ["README.md", "config.json", "model.safetensors", "recipe.yaml", "samples.png"]
    assert sorted(path.name for path in hub.iterdir()) == files
    assert "samples.png shows people of the evaluation; --no-pictures leaves it out" in outcome.out
    assert "(samples.png)" in (hub / "README.md").read_text()
    config = json.loads((hub / "config.json").read_text())
    assert (config["image_size"], config["weights"], config["step"]) == ([32, 32], "average", 4)
    toy = Path(__file__).parents[2] / "support" / "toy_faces.py"
    shutil.copy(toy, hub)
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (40, 32, 3), np.uint8)).save(tmp_path / "photo.png")
    model = ("--checkpoint", hub / "model.safetensors")
    assert enface("apply", hub, tmp_path / "photo.png", "--out", tmp_path / "a", *model).code == 0
    assert enface("apply", run, tmp_path / "photo.png", "--out", tmp_path / "b").code == 0
    outputs = [np.asarray(Image.open(tmp_path / name / "photo.png")) for name in "ab"]
    assert (outputs[0] == outputs[1]).all()


def test_neither_people_nor_folders_are_in_the_layout(run, enface, tmp_path):
    recipe = yaml.safe_load((run / "recipe.yaml").read_text())
    (plugin,) = recipe["plugins"]
    assert Path(plugin).is_absolute()
    hub = tmp_path / "hub"
    outcome = enface("push", run, "--out", hub, "--no-pictures")
    assert outcome.code == 0, outcome.err
    assert "folders are left out of recipe.yaml: plugins.0" in outcome.out
    assert yaml.safe_load((hub / "recipe.yaml").read_text())["plugins"] == ["toy_faces.py"]
    assert not (hub / "samples.png").exists()
    with safe_open(hub / "model.safetensors", framework="pt") as file:
        state = json.loads(file.metadata()["enface"])
        names = list(file.keys())
    assert state.keys() == {"format", "step", "stage", "data", "recipe"}
    assert {name.partition("/")[0] for name in names} == {"generator"}


def test_folders_of_every_kind_are_left_out():
    from enface_tools.card.hub import without_folders

    recipe = {"data": {"root": "/home/ada/faces", "x": "faces/a"}, "m": [{"file": "C:\\Users\\ada\\m.npy"}], "n": 1}
    plain = {"data": {"root": "faces", "x": "faces/a"}, "m": [{"file": "m.npy"}], "n": 1}
    assert without_folders(recipe) == (plain, ["data.root", "m.0.file"])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "name a folder with --out, or a repository with --repo OWNER/NAME"),
        (["--repo", "name"], "--repo name: name a repository as OWNER/NAME"),
        (["--repo", "ada/face"], "ENFACE_OFFLINE is set, so nothing is uploaded"),
        (["--out", "FULL"], "holds other files (mine.txt)"),
    ],
)
def test_what_cannot_be_pushed_is_refused(run, enface, tmp_path, words, message):
    (tmp_path / "FULL").mkdir()
    (tmp_path / "FULL" / "mine.txt").touch()
    outcome = enface("push", run, *[str(tmp_path / word) if word == "FULL" else word for word in words])
    assert outcome.code == 2
    assert message in outcome.err


class FakeApi:
    """Records the calls of ``huggingface_hub.HfApi``."""

    calls: list = []  # noqa: RUF012
    error: Exception | None = None

    def create_repo(self, repo_id, **options):
        self.calls.append((repo_id, options))
        return f"https://huggingface.co/{repo_id}"

    def upload_folder(self, *, repo_id, folder_path, allow_patterns, commit_message):
        if self.error:
            raise self.error
        card = (Path(folder_path) / "README.md").read_text()
        self.calls.append((repo_id, sorted(allow_patterns), card))


@pytest.fixture
def api(monkeypatch, no_network):
    pytest.importorskip("huggingface_hub", reason="pip install 'enface[hub]'")
    monkeypatch.setattr(FakeApi, "calls", [])
    monkeypatch.setattr("huggingface_hub.HfApi", FakeApi)
    return FakeApi


def test_push_uploads_the_layout_to_a_private_repository(run, enface, api):
    outcome = enface("push", run, "--repo", "ada/face")
    assert outcome.code == 0, outcome.err
    assert outcome.out.splitlines()[-1] == "uploaded: https://huggingface.co/ada/face"
    created, (repo, files, card) = api.calls
    assert created == ("ada/face", {"private": True, "exist_ok": True})
    assert (repo, files) == (
        "ada/face",
        ["README.md", "config.json", "model.safetensors", "recipe.yaml", "samples.png"],
    )
    assert "hf download ada/face --local-dir model" in card


def test_public_is_a_choice_and_a_refusal_is_reported(run, enface, api, monkeypatch):
    monkeypatch.setattr(api, "error", PermissionError("403 Forbidden: no write access\nmore"))
    outcome = enface("push", run, "--repo", "ada/face", "--public")
    assert outcome.code == 2
    assert "ada/face cannot be uploaded: 403 Forbidden: no write access; log in with: hf auth login" in outcome.err
    assert api.calls == [("ada/face", {"private": False, "exist_ok": True})]
