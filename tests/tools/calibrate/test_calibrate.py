"""A recipe compared with itself: trainings differ, the recipe does not."""

from __future__ import annotations

import json
from math import comb
from pathlib import Path

import numpy as np
import pytest
import yaml

from enface.errors import DataError
from enface_tools.calibrate.false_verdicts import _sides, calibrate

PEOPLE = 12
KEYS = {name: [f"p{person:02}" for person in range(PEOPLE)] for name in ("key", "target_key", "identity")}


@pytest.fixture
def trained(evaluated):
    def make(name, seeds, training=0.01):
        rng = np.random.default_rng(3)
        person = rng.normal(0, 0.05, PEOPLE)
        for seed in range(seeds):
            values = person + rng.normal(0, training) + rng.normal(0, 0.002, PEOPLE)
            run = evaluated(f"runs/{name}/{seed}", {**KEYS, "lpips": values}, name=name, seed=seed)
        return run.parent

    return make


def test_single_trainings_differ_and_halves_do_not(trained):
    result = calibrate([trained("a", 8)])
    assert (result.seeds, result.identities) == (list(range(8)), 3)
    assert (result.trainings.runs, result.trainings.comparisons) == (1, comb(8, 2))
    assert result.trainings.clear >= 20, "trainings differ five times as much as people tell"
    assert result.recipes is not None
    assert (result.recipes.runs, result.recipes.comparisons) == (4, comb(8, 4) // 2)
    assert result.recipes.clear <= 4
    assert result.recipes.by_metric == {"lpips": result.recipes.clear}
    assert result.seed_sd["lpips"] == pytest.approx(0.01, rel=0.6)


def test_sides_are_disjoint_and_each_pair_is_once():
    halves = _sides(6, 3)
    assert len(halves) == comb(6, 3) // 2
    assert all(not set(first) & set(second) for first, second in halves)
    assert len({frozenset(pair) for pair in halves}) == len(halves)
    assert len(_sides(9, 3)) == 40


def test_few_runs_have_one_comparison_and_one_run_is_refused(trained):
    assert calibrate([trained("a", 3)]).recipes is None
    with pytest.raises(DataError, match="b has one run"):
        calibrate([trained("b", 1)])


def test_sides_of_a_number_of_runs(trained):
    folder = trained("a", 6)
    result = calibrate([folder], per_side=2)
    assert result.recipes is not None
    assert (result.recipes.runs, result.recipes.comparisons) == (2, 40)
    with pytest.raises(DataError, match="--per-side 4: needs 8 runs, and a has 6"):
        calibrate([folder], per_side=4)


def test_several_recipes_are_refused(trained):
    with pytest.raises(DataError, match="of 2 recipes; calibrate one: a, b"):
        calibrate([trained("a", 2), trained("b", 2)])


def test_a_shipped_recipe_is_trained_by_its_name_and_json_is_alone_on_the_standard_output(
    enface, tmp_path, monkeypatch, evaluated
):
    """The sweep is replaced by one that writes evaluations."""
    files = []

    def sweep(file, runs, **_):
        content = yaml.safe_load(file.read_text())
        files.append(content["recipe"])
        print("states of the runs")
        for seed in content["seeds"]:
            values = np.random.default_rng(seed).normal(0, 0.01, PEOPLE)
            evaluated(f"runs/tiny/{seed}", {**KEYS, "lpips": values}, name="tiny", seed=seed)

    monkeypatch.setattr("enface_tools.sweep.command.sweep", sweep)
    outcome = enface("calibrate", "tiny", "--seeds", 3, "--runs", tmp_path / "runs", "--json")
    assert outcome.code == 0, outcome.err
    assert json.loads(outcome.out)["seeds"] == [0, 1, 2]
    assert [Path(file).name for file in files] == ["tiny.yaml"]
    assert all(Path(file).is_file() for file in files)


def test_the_command_on_finished_runs(enface, trained):
    folder = trained("a", 4)
    shown = enface("calibrate", folder).out
    assert "a: 4 seeds" in shown
    assert "one run against one: " in shown
    assert "2 runs against 2: " in shown
    assert json.loads(enface("calibrate", folder, "--json").out)["recipes"]["runs"] == 2
