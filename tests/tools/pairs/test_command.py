"""``enface pairs``: output, refusals, and resuming after an interruption."""

from __future__ import annotations

import json
import re
import shutil
import signal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from enface_tools.evaluate.results import Results

MANY = 600
SLOW = """
import time
class Slow(Metric):
    '''Waits after 256 images to be stopped, if STOPPED is set.'''
    higher_is_better = False
    card = {"implementation": "test"}
    seen = 0
    def forward(self, output, target):
        while "STOPPED" in os.environ and self.seen >= 256:
            time.sleep(0.02)
        self.seen += len(output)
        return (output - target).abs().flatten(1).mean(1)
"""


def fill(folder: Path, count: int, first: int = 0) -> Path:
    folder.mkdir(parents=True)
    rng = np.random.default_rng(first)
    for index in range(count):
        Image.fromarray(rng.integers(0, 256, (12, 12, 3), np.uint8)).save(folder / f"p{index % 3}_{index}.png")
    return folder


@pytest.fixture
def pair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """Six outputs and their targets, in folders below the current one."""
    monkeypatch.chdir(tmp_path)
    return fill(Path("outputs"), 6, 1), fill(Path("targets"), 6, 2)


@pytest.fixture
def many(tmp_path: Path) -> tuple[str, str]:
    return tuple(fill(tmp_path / name, MANY, number).name for number, name in enumerate(("outputs", "targets")))  # type: ignore[return-value]


def test_it_measures_and_reports(enface, pair, tmp_path):
    fill(tmp_path / "sources", 6, 3)
    outcome = enface("pairs", *pair, "--sources", "sources", "--metrics", "mae, psnr", "--identity", r"_(\d)")
    assert outcome.code == 0, outcome.err
    results = Results.read(Path("evaluations/outputs"))
    mean = results.summary.metrics["mae"].mean
    assert "6 outputs match their targets; results: evaluations/outputs" in outcome.out
    (shown,) = re.findall(r"^mae +lower +(0\.\d+) +\[0\.\d+, 0\.\d+\] +0\.\d+ +\w+$", outcome.out, re.M)
    assert float(shown) == pytest.approx(mean, abs=0.5 * 10 ** -len(shown.partition(".")[2]) + 1e-9)
    assert re.search(r"^metric +better +output +95 % interval +source +verdict$", outcome.out, re.M)
    assert results.summary.identities == 6
    assert Path("evaluations/outputs/grid.png").is_file()
    assert "report: evaluations/outputs/report/index.html" in outcome.out
    assert "p2_5" in Path("evaluations/outputs/report/index.html").read_text(encoding="utf-8")


def test_the_grid_and_the_layers_of_apply_are_no_outputs(enface, pair):
    outputs, targets = pair
    for name in ("grid.png", "p0_0.layers.png"):
        shutil.copy(outputs / "p0_0.png", outputs / name)
    outcome = enface("pairs", outputs, targets, "--metrics", "mae")
    assert outcome.code == 0, outcome.err
    assert "left out, because 'enface apply' writes it beside outputs: grid.png, p0_0.layers.png\n" in outcome.out
    assert "6 outputs match their targets" in outcome.out


def test_an_image_called_grid_with_a_target_is_measured(enface, pair):
    for folder in pair:
        shutil.copy(folder / "p0_0.png", folder / "grid.png")
    assert "7 outputs match their targets" in enface("pairs", *pair, "--metrics", "mae").out


def test_every_option_has_its_effect(enface, pair, plugin, tmp_path):
    pd.DataFrame({"key": [f"p{index % 3}_{index}" for index in range(6)], "pose": [0, 0, 0, 1, 1, 1]}).to_csv("l.csv")
    outputs, targets = pair
    for path in targets.iterdir():
        path.rename(path.with_name(f"real_{path.name}"))
    fill(targets / "more", 1, 9)
    (next((targets / "more").iterdir())).rename(targets / "real_p9_9.png")
    for path in outputs.iterdir():
        Image.open(path).resize((10, 10)).save(path)
    options = (
        f"--plugin {plugin(SLOW, brings='Slow')} --metrics slow --out {tmp_path / 'r'} --labels l.csv --subset --resize"
    )
    more = (
        r"--set metrics.fine.use=ms_ssim --set metrics.fine.scales=1 --key (p\d_\d) --batch 4 --pictures 3 --device cpu"
    )
    outcome = enface("pairs", *pair, *options.split(), *more.split())
    assert outcome.code == 0, outcome.err
    summary = Results.read(tmp_path / "r").summary
    assert list(summary.metrics) == ["slow", "fine"]
    assert set(summary.by) == {"pose"}
    assert json.loads((tmp_path / "r" / "pictures.json").read_text())["images"] == 3
    assert "caveat: The outputs were resized" in outcome.out
    assert "caveat: 1 targets have no output and were skipped." in outcome.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["outputs"], "Missing argument"),
        (["outputs", "nothing"], "folder of targets nothing does not exist"),
        (["outputs", "outputs"], "are one folder"),
        (["outputs", "targets", "--metrics", "mae,,ssim"], "separated by commas"),
        (["outputs", "targets", "--metrics", "mae,mae"], "separated by commas"),
        (["outputs", "targets", "--metrics", "lpip"], "did you mean 'lpips'?"),
        (["outputs", "targets", "--set", "seed=1"], "--set seed=1: there is no recipe here"),
        (["outputs", "targets", "--plugin", "no.py"], "no.py does not exist"),
        (["outputs", "targets", "--out", "targets/results"], "among the targets"),
        (["outputs", "targets", "--checkpoint", "best"], "No such option: --checkpoint"),
    ],
)
def test_refusals(enface, pair, arguments, message):
    outcome = enface("pairs", *arguments)
    assert outcome.code == 2
    assert message in outcome.err
    assert not Path("evaluations").exists()


@pytest.mark.parametrize("arguments", [[], ["runs/x"], ["--checkpoint", "best"]])
def test_the_former_option_of_evaluate_names_this_command(enface, pair, arguments):
    outcome = enface("evaluate", *arguments, "--pairs", *pair)
    assert outcome.code == 2
    assert outcome.err == "error: --pairs is a command of its own now: enface pairs outputs targets\n"
    assert "--pairs" not in enface("evaluate", "--help").out


def test_a_default_metric_that_does_not_fit_is_unavailable(enface, pair):
    outcome = enface("pairs", *pair)
    assert outcome.code == 0
    assert "lpips: unavailable. " in outcome.out
    assert re.search(r"^ssim +higher +-?0\.0", outcome.out, re.M)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_it_resumes_after_a_signal(shell, until, plugin, many, number):
    file = plugin(SLOW, brings="Slow")
    arguments = ("pairs", *many, "--metrics", "slow", "--plugin", file, "--batch", "64", "--pictures", "0")
    child = shell.start(*arguments, STOPPED="1")
    work = shell.folder / "evaluations" / "outputs" / ".work"
    until((work / "part-00000.npz").is_file)
    child.signal(number)
    code = child.wait()
    assert not (work / "part-00002.npz").exists(), "it was not stopped"
    if number == signal.SIGKILL:
        assert code == -number
    else:
        assert code == 128 + number
        assert f"stopped by {number.name} after 256 of 600 images, which are kept" in child.out
        assert "Traceback" not in child.out
    again = shell(*arguments)
    assert "256 of 600 images are measured already; resuming" in again.out
    whole = shell(*arguments, "--out", "whole")
    assert "already" not in whole.out
    first, second = (Results.read(shell.folder / name).images for name in ("evaluations/outputs", "whole"))
    pd.testing.assert_frame_equal(first, second)
    assert not work.exists()


def test_changed_images_start_it_over(shell, until, plugin, many):
    file = plugin(SLOW, brings="Slow")
    arguments = ("pairs", *many, "--metrics", "slow", "--plugin", file, "--batch", "64", "--pictures", "0")
    child = shell.start(*arguments, STOPPED="1")
    until((shell.folder / "evaluations" / "outputs" / ".work" / "part-00000.npz").is_file)
    child.signal(signal.SIGKILL)
    child.wait()
    shutil.rmtree(shell.folder / "outputs")
    fill(shell.folder / "outputs", MANY, 7)
    again = shell(*arguments)
    assert "have changed since the interruption; starting over" in again.out
    assert Results.read(shell.folder / "evaluations" / "outputs").summary.images == MANY
