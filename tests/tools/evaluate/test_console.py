"""The end of an evaluation in the terminal: the verdict and the table, at 80 and 120 columns and in a file."""

from __future__ import annotations

import re

import pytest

from enface_tools.evaluate.console import report_summary
from enface_tools.evaluate.direction import Direction
from enface_tools.evaluate.models import Estimate, Summary
from enface_tools.evaluate.verdict import change_outcome, verdict


def metric(mean, low, high, gains, *, higher=True, ideal=None):
    """A metric with baselines 0.40 (source) and 0.57 (mean_target); ``gains`` are intervals of the differences."""
    return {
        **{"mean": mean, "low": low, "high": high, "higher_is_better": higher, "ideal": ideal},
        "baselines": {"source": 0.4, "mean_target": 0.57},
        "gains": {name: dict(zip(("mean", "low", "high"), gain, strict=True)) for name, gain in gains.items()},
    }


def summary(**metrics):
    return Summary.model_validate(
        {
            **{"kind": "run", "name": "toy", "format": 3, "metrics": metrics, "images": 9, "identities": 9},
            **{"interval": "95 %", "caveats": ["Fewer people than one would like were measured in this evaluation."]},
        }
    )


SSIM = metric(0.729, 0.667, 0.769, {"source": (0.33, 0.27, 0.37), "mean_target": (0.16, 0.1, 0.2)})
LPIPS = metric(0.213, 0.17, 0.26, {"source": (0.04, 0.01, 0.08), "mean_target": (-0.04, -0.09, 0.01)}, higher=False)


@pytest.fixture
def lines(monkeypatch):
    """Return the lines that are shown on a terminal of a width; without a width, in a file."""

    def show(content, columns=None):
        said = []
        for name, value in {"FORCE_COLOR": "1", "TERM": "xterm-256color", "COLUMNS": str(columns)}.items():
            if columns:
                monkeypatch.setenv(name, value)
        report_summary(content, type("Reporter", (), {"say": staticmethod(said.append)}))
        return "\n".join(said).split("\n")

    return show


def test_the_verdict_names_every_baseline_with_its_outcome():
    assert verdict(summary(mae=SSIM, lpips=LPIPS, ssim=SSIM)) == (
        "ssim 0.73 [0.67, 0.77]: better than the source (0.40) and the mean target (0.57); "
        "lpips 0.21 [0.17, 0.26]: worse than the source (0.40), not clearly different from the mean target (0.57)."
    )


def test_without_ssim_and_lpips_the_verdict_is_on_the_first_two_metrics():
    text = verdict(summary(psnr=SSIM, mae=LPIPS, tar=SSIM))
    assert re.findall(r"\w+(?= 0\.\d\d \[)", text) == ["psnr", "mae"]
    assert verdict(summary()) == ""


def test_without_baselines_the_verdict_is_the_number():
    item = {**SSIM, "baselines": {}, "gains": {}}
    assert verdict(summary(ssim=item)) == "ssim 0.73 [0.67, 0.77]."


def test_without_intervals_the_verdict_compares_nothing():
    nothing = {"mean": -0.1, "low": None, "high": None}
    item = {**SSIM, "low": None, "high": None, "gains": dict.fromkeys(SSIM["gains"], nothing)}
    text = verdict(summary(ssim=item))
    assert re.sub(r"\d+\.\d+", "N", text) == "ssim N without interval, so without verdict: source N, mean target N."
    assert [float(number) for number in re.findall(r"\d+\.\d+", text)] == pytest.approx([0.73, 0.40, 0.57], abs=0.005)


@pytest.mark.parametrize(
    ("low", "high", "direction", "outcome"),
    [
        (0.1, 0.3, Direction(True), "better"),
        (0.1, 0.3, Direction(False), "worse"),
        (-0.3, -0.1, Direction(False), "better"),
        (-0.1, 0.3, Direction(True), "unclear"),
        (0.0, 0.3, Direction(True), "unclear"),
        (None, None, Direction(True), "unclear"),
        # The difference is one of distances to the ideal, so that a smaller one is better.
        (-0.3, -0.1, Direction(True, ideal=1.0), "better"),
    ],
)
def test_an_outcome_needs_an_interval_without_zero(low, high, direction, outcome):
    assert change_outcome(Estimate(mean=0.2, low=low, high=high), direction) == outcome


def test_a_file_has_a_plain_table(lines):
    assert lines(summary(ssim=SSIM, lpips=LPIPS))[1:] == [
        "metric  better  output  95 % interval  source  mean target  verdict",
        "ssim    higher    0.73   [0.67, 0.77]    0.40         0.57  better",
        "lpips   lower     0.21   [0.17, 0.26]    0.40         0.57  worse",
        "caveat: Fewer people than one would like were measured in this evaluation.",
    ]


@pytest.mark.parametrize("columns", [40, 60, 80, 120])
def test_no_word_is_broken_at_any_width(lines, columns):
    content = summary(ssim=SSIM, lpips=LPIPS, a_metric_with_a_long_name=SSIM)
    words = set(" ".join(lines(content)).split())
    shown = [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in lines(content, columns)]
    assert max(map(len, shown)) <= columns
    assert set(" ".join(shown).split()) <= words


def test_the_output_is_green_if_better_than_both_baselines_and_red_if_worse_than_one(lines):
    text = "\n".join(lines(summary(ssim=SSIM, lpips=LPIPS), 120))
    assert "\x1b[32m  0.73\x1b[0m" in text
    assert "\x1b[31m  0.21\x1b[0m" in text
