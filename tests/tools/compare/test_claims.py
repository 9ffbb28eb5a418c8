"""Comparisons test the claim that a recipe registered, and say why they do not."""

from __future__ import annotations

import json
import math
from types import SimpleNamespace

import pytest
import yaml
from scipy import stats

from enface.recipe.models import Recipe
from enface_tools.compare.comparison import compare
from enface_tools.report.claims import register_claim

PEOPLE = [f"p{number}" for number in range(5)]
KEYS = {"key": PEOPLE, "target_key": PEOPLE, "identity": PEOPLE}
# Runs on people. The difference of the means is 4; see test_crossed.py, where its variance is worked by hand: 1.4.
LOW = [[1.0, 2, 1, 2, 4], [1.0, 2, 3, 2, 2]]
HIGH = [[3.0, 5, 4, 8, 5], [5.0, 5, 8, 10, 7]]
DIRECTIONS = {"ssim": {"higher_is_better": True}, "lpips": {"higher_is_better": False}}
DF = 1.4**2 / (0.09 + 1 + 0.005)
CUBES = (-1 - 1 + 0 + 27 - 1) / 5
"""Third moment of people's differences, 3, 3, 4, 7 and 3."""


def hall(distance):
    """One-sided p of Hall's transformation of a mean that lies so far above the null hypothesis."""
    t, skewness = distance / math.sqrt(1.4), CUBES / 5**2 / 1.4**1.5
    transformed = t + skewness / 3 * t**2 + skewness**2 / 27 * t**3 + skewness / 6
    return stats.t.sf(transformed, DF)


@pytest.fixture
def trained(evaluated):
    """``runs/NAME`` with a run for each row of numbers; with ``claim`` they register one before they are evaluated."""

    def make(name, values, metric="ssim", claim=None, claiming=None):
        for seed, numbers in enumerate(values):
            run = evaluated(
                f"runs/{name}/{seed}", {**KEYS, metric: numbers}, name=name, seed=seed, directions=DIRECTIONS
            )
            content = yaml.safe_load((run / "recipe.yaml").read_text()) | {"metrics": [metric]}
            content |= {"claim": claim} if claim else {}
            recipe = Recipe.model_validate(content)
            (run / "recipe.yaml").write_text(yaml.safe_dump(recipe.dump()))
            if claiming is None or seed in claiming:
                register_claim(SimpleNamespace(recipe=recipe, directory=run))
        return run.parent

    return make


def claim_of(*paths, **options):
    (comparison,) = compare(list(paths), **options).comparisons
    return comparison.claim


@pytest.mark.parametrize(("by", "outcome"), [(0.0, "confirmed"), (0.5, "confirmed"), (3.0, "not confirmed")])
def test_a_claim_is_tested_one_sided_against_the_gain_that_it_names(trained, by, outcome):
    claim = {"better": "ssim", "than": "low", "by": by, "seeds": 2}
    result = claim_of(trained("low", LOW), trained("high", HIGH, claim=claim))
    assert result.p == pytest.approx(hall(4 - by))
    assert (result.outcome, result.reason) == (outcome, "")
    assert (result.p < 0.05) == (outcome == "confirmed")


def test_a_lower_number_is_the_gain_of_a_metric_that_is_better_low(trained):
    claim = {"better": "lpips", "than": "high", "by": 0.5, "seeds": 2}
    result = claim_of(trained("high", HIGH, "lpips"), trained("low", LOW, "lpips", claim=claim))
    assert result.p == pytest.approx(hall(3.5))


def test_a_group_that_is_worse_does_not_confirm_its_claim(trained):
    claim = {"better": "ssim", "than": "high", "seeds": 2}
    result = claim_of(trained("high", HIGH), trained("low", LOW, claim=claim))
    assert result.p == pytest.approx(1 - hall(4))
    assert result.outcome == "not confirmed"


def test_without_a_claim_nothing_is_confirmed(trained):
    assert claim_of(trained("low", LOW), trained("high", HIGH)) is None


@pytest.mark.parametrize(
    ("claim", "says"),
    [
        ({"better": "ssim", "than": "other", "seeds": 2}, "the control is low"),
        ({"better": "ssim", "than": "low"}, "one side has 2 of 3 seeds"),
        ({"better": "ssim@eyes", "than": "low", "seeds": 2}, "ssim@eyes is not compared"),
    ],
)
def test_another_comparison_than_the_claimed_one_leaves_it_untested(trained, claim, says):
    result = claim_of(trained("low", LOW), trained("high", HIGH, claim=claim))
    assert (result.outcome, result.reason) == ("untested", says)
    assert math.isnan(result.p)


def test_every_run_must_have_registered_the_claim(trained):
    claim = {"better": "ssim", "than": "low", "seeds": 2}
    result = claim_of(trained("low", LOW), trained("high", HIGH, claim=claim, claiming=[1]))
    assert result.outcome == "untested"
    assert result.reason == "not all runs registered this claim before their training"


def test_a_claim_that_changed_in_all_files_of_one_run_is_not_accepted(trained):
    claim = {"better": "ssim", "than": "low", "seeds": 2, "by": 3}
    low, high = trained("low", LOW), trained("high", HIGH, claim=claim)
    for run in high.iterdir():
        recipe = yaml.safe_load((run / "recipe.yaml").read_text())
        recipe["claim"]["by"] = 0
        (run / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    assert claim_of(low, high) is None


def test_an_earlier_checkpoint_does_not_test_the_claim(trained):
    claim = {"better": "ssim", "than": "low", "seeds": 2}
    low, high = trained("low", LOW), trained("high", HIGH, claim=claim)
    paths = []
    for run in (*sorted(low.iterdir()), *sorted(high.iterdir())):
        folder = run / "evaluation" / "val"
        best = folder / "checkpoints" / "best"
        best.mkdir(parents=True)
        for name in ("images.csv", "summary.json"):
            (best / name).write_bytes((folder / name).read_bytes())
        paths.append(best)
    result = claim_of(*paths)
    assert (result.outcome, result.reason) == ("untested", "best is compared, not the end of the training")


def test_the_command_prints_and_writes_the_claim_apart_from_exploratory_verdicts(trained, enface, tmp_path):
    claim = {"better": "ssim", "than": "low", "seeds": 2}
    out = tmp_path / "out"
    outcome = enface("compare", trained("low", LOW), trained("high", HIGH, claim=claim), "--out", out)
    assert outcome.code == 0, outcome.err
    lines = " ".join(outcome.out.split())
    assert "better on ssim than low, with 2 seeds or more: confirmed (p " in lines
    assert "exploratory, because nothing else was claimed before training:" in lines
    (entry,) = [item["claim"] for item in json.loads((out / "comparison.json").read_text())["comparisons"]]
    assert (entry["outcome"], entry["p"]) == ("confirmed", pytest.approx(hall(4), abs=1e-9))
    assert "This test is confirmatory; the verdicts below are exploratory." in (out / "index.html").read_text()
