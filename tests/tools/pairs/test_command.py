"""``enface evaluate --pairs``: what it says, what it refuses, and that it goes on after being stopped."""

from __future__ import annotations

import json
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
    '''Waits for what stops it after 256 images, where STOPPED is set.'''
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
    """Six outputs and their targets, below the folder the command is called in."""
    monkeypatch.chdir(tmp_path)
    return fill(Path("made"), 6, 1), fill(Path("true"), 6, 2)


@pytest.fixture
def many(tmp_path: Path) -> tuple[str, str]:
    return tuple(fill(tmp_path / name, MANY, number).name for number, name in enumerate(("made", "true")))  # type: ignore[return-value]


def test_it_measures_and_says_what_it_found(enface, pair, tmp_path):
    fill(tmp_path / "given", 6, 3)
    found = enface(
        *("evaluate", "--pairs", *pair, "--sources", "given", "--metrics", "l1, psnr", "--identity", r"(p\d)"),
    )
    assert found.code == 0, found.err
    results = Results.read(Path("evaluations/made"))
    mean = results.summary["metrics"]["l1"]["mean"]
    assert "6 outputs match their targets; results: evaluations/made" in found.out
    assert f"l1: {mean:.4f} [" in found.out
    assert "(baselines: source 0." in found.out
    assert results.summary["identities"] == 3
    assert Path("evaluations/made/grid.png").is_file()
    assert "report: evaluations/made/report/index.html" in found.out
    assert "p2_5" in Path("evaluations/made/report/index.html").read_text(encoding="utf-8")


def test_every_option_reaches_the_measuring(enface, pair, plugin, tmp_path):
    pd.DataFrame({"key": [f"p{index % 3}_{index}" for index in range(6)], "pose": [0, 0, 0, 1, 1, 1]}).to_csv("l.csv")
    outputs, targets = pair
    for path in targets.iterdir():
        path.rename(path.with_name(f"real_{path.name}"))
    fill(targets / "more", 1, 9)
    (next((targets / "more").iterdir())).rename(targets / "real_p9_9.png")
    for path in outputs.iterdir():
        Image.open(path).resize((10, 10)).save(path)
    words = (
        f"--plugin {plugin(SLOW, brings='Slow')} --metrics slow --out {tmp_path / 'r'} --labels l.csv --subset --resize"
    )
    more = (
        r"--set metrics.fine.use=ms_ssim --set metrics.fine.scales=1 --key (p\d_\d) --batch 4 --pictures 3 --device cpu"
    )
    found = enface("evaluate", "--pairs", *pair, *words.split(), *more.split(), "--subset", "--resize")
    assert found.code == 0, found.err
    summary = Results.read(tmp_path / "r").summary
    assert list(summary["metrics"]) == ["slow", "fine"]
    assert set(summary["by"]) == {"pose"}
    assert json.loads((tmp_path / "r" / "pictures.json").read_text())["images"] == 3
    assert "caution: The outputs were resized" in found.out
    assert "caution: 1 targets have no output and are left out." in found.out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "name a run directory"),
        (["runs/x", "--pairs", "made", "true"], "not a run"),
        (["--pairs", "made", "true", "--checkpoint", "best"], "leave out"),
        (["--pairs", "made", "true", "--raw"], "leave out"),
        (["runs/x", "--metrics", "l1"], "--metrics is for --pairs"),
        (["runs/x", "--subset"], "--subset is for --pairs"),
        (["--pairs", "made", "nothing"], "folder of targets nothing does not exist"),
        (["--pairs", "made", "made"], "are one folder"),
        (["--pairs", "made", "true", "--metrics", "l1,,ssim"], "with commas between"),
        (["--pairs", "made", "true", "--metrics", "l1,l1"], "with commas between"),
        (["--pairs", "made", "true", "--metrics", "lpip"], "did you mean 'lpips'?"),
        (["--pairs", "made", "true", "--set", "seed=1"], "--set seed=1: there is no recipe here"),
        (["--pairs", "made", "true", "--plugin", "no.py"], "no.py does not exist"),
        (["--pairs", "made", "true", "--out", "true/results"], "among the targets"),
    ],
)
def test_what_is_refused(enface, pair, words, message):
    found = enface("evaluate", *words)
    assert found.code == 2
    assert message in found.err
    assert not Path("evaluations").exists()


def test_a_metric_that_does_not_fit_is_said_to_be_unavailable(enface, pair):
    found = enface("evaluate", "--pairs", *pair)
    assert found.code == 0
    assert "lpips: unavailable. " in found.out
    assert "ssim: 0.0" in found.out or "ssim: -0.0" in found.out


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_stopped_it_goes_on(shell, until, plugin, many, number):
    file = plugin(SLOW, brings="Slow")
    words = ("evaluate", "--pairs", *many, "--metrics", "slow", "--plugin", file, "--batch", "64", "--pictures", "0")
    child = shell.start(*words, STOPPED="1")
    work = shell.folder / "evaluations" / "made" / ".work"
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
    again = shell(*words)
    assert "256 of 600 images are measured already; going on" in again.out
    whole = shell(*words, "--out", "whole")
    assert "already" not in whole.out
    first, second = (Results.read(shell.folder / name).images for name in ("evaluations/made", "whole"))
    pd.testing.assert_frame_equal(first, second)
    assert not work.exists()


def test_changed_images_are_said_to_start_it_over(shell, until, plugin, many):
    file = plugin(SLOW, brings="Slow")
    words = ("evaluate", "--pairs", *many, "--metrics", "slow", "--plugin", file, "--batch", "64", "--pictures", "0")
    child = shell.start(*words, STOPPED="1")
    until((shell.folder / "evaluations" / "made" / ".work" / "part-00000.npz").is_file)
    child.signal(signal.SIGKILL)
    child.wait()
    shutil.rmtree(shell.folder / "made")
    fill(shell.folder / "made", MANY, 7)
    again = shell(*words)
    assert "have changed since this was interrupted; starting over" in again.out
    assert Results.read(shell.folder / "evaluations" / "made").summary["images"] == MANY
