"""The searches for a learning rate and a batch size."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch

from enface.training.step import Step
from enface_tools.tune import batch_size
from enface_tools.tune.batch_size import GIB, Measurement, expected_memory, fastest, is_out_of_memory, memory_limit
from enface_tools.tune.learning_rate import RangeTest, Sweep, range_test, smooth
from enface_tools.tune.trial import stage_name, start_trial

SGD = {"use": "sgd", "lr": 0.1}


@pytest.fixture
def files(tmp_path):
    return lambda: sorted(path for path in tmp_path.rglob("*") if "cache" not in str(path))


# ------------------------------------------------------------------ learning rate


def test_a_sweep_is_exponential():
    assert [Sweep(1e-4, 1.0, 5)(step) for step in range(5)] == pytest.approx([1e-4, 1e-3, 1e-2, 1e-1, 1.0])


def test_smoothing_has_no_bias_at_its_start():
    # (0.9 * 0.1 * 4 + 0.1 * 2) / (1 - 0.81)
    np.testing.assert_allclose(smooth([4.0, 2.0]), [4.0, 0.56 / 0.19])
    np.testing.assert_allclose(smooth([3.0] * 20), 3.0)


def test_the_suggestion_is_where_the_loss_falls_most_steeply():
    rates = np.geomspace(1e-6, 1, 601)
    # A logistic fall around 1e-3, which smoothing delays by about ten steps, and a rise from 1e-1 on.
    place = np.log10(rates)
    losses = 1 / (1 + np.exp(4 * (place + 3))) + np.exp(5 * place)
    suggestion = RangeTest(rates, losses, True).suggestion
    assert 1e-3 < suggestion < 1.5e-3


def test_a_loss_that_only_rises_has_no_suggestion():
    rates = np.geomspace(1e-6, 1, 50)
    assert RangeTest(rates, np.linspace(1, 2, 50), True).suggestion is None
    assert RangeTest(rates[:1], np.ones(1), True).suggestion is None


def test_the_learning_rate_of_each_step_is_that_of_the_sweep(new_trainer, monkeypatch):
    trainer = new_trainer({"stages": {"main": {"optimizer": SGD}}})
    loaded = trainer.run.loaded
    trial = start_trial(loaded, "main", trainer.run.reporter, steps=10)
    used = []
    plain = Step.__call__
    monkeypatch.setattr(
        Step,
        "__call__",
        lambda self, *given: (plain(self, *given), used.append(self.generator.optimizer.param_groups[0]["lr"]))[0],
    )
    test = range_test(trial, 1e-5, 1e-2, 10)
    assert used == pytest.approx(list(np.geomspace(1e-5, 1e-2, 10)))
    assert list(test.rates) == pytest.approx(used)
    assert not test.diverged
    assert loaded.recipe.stages["main"].steps != 10, "the recipe stays as it was"


def test_a_sweep_ends_when_the_loss_diverges(new_trainer):
    trainer = new_trainer({"stages": {"main": {"optimizer": SGD, "terms": {"l1": False, "mse": {}}}}})
    trial = start_trial(trainer.run.loaded, "main", trainer.run.reporter, steps=60)
    test = range_test(trial, 1e-3, 1e12, 60)
    assert test.diverged
    assert 2 < len(test.losses) < 60
    assert len(test.rates) == len(test.losses)


def test_find_lr_prints_an_override_and_makes_no_run(recipe, enface, tmp_path, monkeypatch, files):
    monkeypatch.chdir(tmp_path)
    path = recipe({"stages": {"main": {"batch": 4, "optimizer": {"use": "adam", "lr": 1e-3}}}})
    before = files()
    outcome = enface("find-lr", path, "--steps", "25", "--out", tmp_path / "curve.png")
    assert outcome.code == 0, outcome.err
    (rate,) = re.findall(r"--set stages\.main\.optimizer\.lr=(\S+)", outcome.out)
    assert 1e-7 < float(rate) < 1
    assert [path for path in files() if path not in before] == [tmp_path / "curve.png"]
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")
    assert enface("check", path, "--set", f"stages.main.optimizer.lr={rate}").code == 0


def test_mistakes_are_named(recipe, enface):
    path = recipe({})
    assert "--low 1 --high 0.1: give two rates" in enface("find-lr", path, "--low", "1", "--high", "0.1").err
    assert "no stage 'mian'; did you mean 'main'?" in enface("find-batch", path, "--stage", "mian").err


def test_a_stage_after_another_is_tried_at_initial_weights_and_says_so(new_trainer):
    stage = {"steps": 1, "batch": 4, "terms": {"l1": {}}}
    trainer = new_trainer({"stages": {"main": {"steps": 1}, "then": stage}})
    assert stage_name(trainer.run.recipe, None) == "main"
    assert not start_trial(trainer.run.loaded, "main", trainer.run.reporter).note
    assert "not trained here" in start_trial(trainer.run.loaded, "then", trainer.run.reporter).note


# ------------------------------------------------------------------ batch size


def test_the_fastest_is_the_smallest_of_about_the_same_speed():
    items = [Measurement(4, 50, 1), Measurement(8, 96, 2), Measurement(16, 100, 3), Measurement(32, 0, 0, fits=False)]
    assert fastest(items).batch == 8


def test_memory_is_expected_to_be_linear_in_the_batch():
    # 1 GiB and 0.5 GiB for each image: 3, 5, then 9 GiB.
    items = [Measurement(4, 1, 3 * GIB), Measurement(8, 1, 5 * GIB)]
    assert expected_memory(*items) == 9 * GIB


def test_the_limit_is_that_of_the_control_group_if_it_is_lower(monkeypatch, tmp_path):
    monkeypatch.setattr(batch_size, "CGROUP", tmp_path / "memory.max")
    machine = memory_limit()
    (tmp_path / "memory.max").write_text("max\n")
    assert memory_limit() == machine
    (tmp_path / "memory.max").write_text("1048576\n")
    assert memory_limit() == 1048576


def test_find_batch_prints_a_table_and_an_override(recipe, enface, tmp_path, monkeypatch, files):
    monkeypatch.chdir(tmp_path)
    path = recipe({})
    enface("check", path, "--data")
    before = files()
    outcome = enface("find-batch", path, "--first", "2", "--max", "9", "--steps", "1")
    assert outcome.code == 0, outcome.err
    rows = [line.split() for line in outcome.out.splitlines() if line[:1].isdigit()]
    assert [int(row[0]) for row in rows] == [2, 4, 8]
    assert all(float(row[1]) > 0 and float(row[2]) > 0 for row in rows)
    assert "largest that fits: 8 (the largest that was tried)" in outcome.out
    assert re.search(r"fastest: \d, \d+ images/s: --set stages\.main\.batch=\d\n", outcome.out)
    assert files() == before


def test_on_a_cpu_a_batch_that_is_expected_not_to_fit_is_not_tried(recipe, enface):
    outcome = enface("find-batch", recipe({}), "--memory", "0.01", "--steps", "1")
    assert "does not fit  about " in outcome.out
    assert "largest that fits: 4\n" in outcome.out


@pytest.mark.parametrize("wrapped", [False, True])
def test_a_batch_for_which_memory_does_not_suffice_ends_the_search(recipe, enface, monkeypatch, wrapped):
    plain = Step.__call__

    def call(self, step, parts):
        if len(parts[0]()["source"]) > 4:
            error = torch.OutOfMemoryError("CUDA out of memory")
            if wrapped:
                raise RuntimeError("the loss of term 'l1' fails") from error
            raise error
        return plain(self, step, parts)

    monkeypatch.setattr(Step, "__call__", call)
    outcome = enface("find-batch", recipe({}), "--first", "2", "--steps", "1")
    assert outcome.code == 0, outcome.err
    assert re.search(r"^8 +does not fit$", outcome.out, re.M)
    assert "largest that fits: 4\n" in outcome.out
    first = enface("find-batch", recipe({}), "--first", "8", "--steps", "1")
    assert (first.code, "a batch of 8 does not fit" in first.err) == (2, True)


def test_other_errors_are_no_lack_of_memory():
    assert not is_out_of_memory(ValueError("out of memory"))
