"""The running average: its decays, its warm-up, and what a short stage ends with."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from enface.errors import RecipeError
from enface.recipe.models import EmaModel
from enface.training.average import decay_at, new_average

UNET = {"use": "unet", "width": 4, "depth": 3}


@pytest.mark.parametrize(
    ("ema", "decays"),
    [
        ({"decay": 0.3}, [0, 2 / 11, 3 / 12, 0.3, 0.3]),
        ({"decay": 0.999}, [0, 2 / 11, 3 / 12, 4 / 13, 5 / 14]),
        ({"decay": 0.3, "warmup": False}, [0, 0.3, 0.3, 0.3, 0.3]),
        ({"decay": 0.999, "start": 2}, [0, 0, 0, 2 / 11, 3 / 12]),
        ({"decay": 0.3, "warmup": False, "start": 3}, [0, 0, 0, 0, 0.3]),
    ],
)
def test_the_decay_of_each_update(ema, decays):
    model = EmaModel.model_validate(ema)
    assert [decay_at(model, updates) for updates in range(5)] == pytest.approx(decays)


def test_an_average_with_warm_up_matches_one_computed_by_hand():
    network = nn.BatchNorm1d(1)
    average = new_average(network, EmaModel(decay=0.999))
    values, expected = [3.0, 5.0, -1.0, 7.0], 3.0
    for number, value in enumerate(values):
        with torch.no_grad():
            network.weight.fill_(value)
            network.running_mean.fill_(value)
        average.update_parameters(network)
        if number:
            decay = (1 + number) / (10 + number)
            expected = decay * expected + (1 - decay) * value
        assert float(average.module.weight) == pytest.approx(expected)
        assert float(average.module.running_mean) == pytest.approx(expected), "statistics are averaged, too"
    assert int(average.n_averaged) == 4
    assert not average.module.weight.requires_grad


def distance(first, second):
    pairs = zip(first.parameters(), second.parameters(), strict=True)
    return float(torch.stack([(one - other).detach().square().sum() for one, other in pairs]).sum().sqrt())


@pytest.mark.parametrize("decay", [0.99, 0.999])
def test_a_short_stage_ends_near_its_trained_weights(new_trainer, decay):
    stage = {"steps": 150, "batch": 2, "optimizer": {"lr": 1e-3}, "ema": decay}
    trainer = new_trainer({"generator": UNET, "stages": {"main": stage}})
    first = new_trainer({"generator": UNET, "stages": {"main": stage}}, "first").generator
    trainer.train()
    moved = distance(first, trainer.generator)
    # Constant decays of 0.99 and 0.999 leave 22 % and 86 % of the first weights in the average.
    assert distance(trainer.network, trainer.generator) < 0.15 * moved


def test_before_the_start_the_average_is_the_weights(new_trainer):
    stage = {"steps": 3, "ema": {"decay": 0.9, "start": 2}, "optimizer": {"lr": 0.05}}
    trainer = new_trainer({"generator": UNET, "stages": {"main": stage}})
    trainer.train()
    assert distance(trainer.network, trainer.generator) == 0
    longer = new_trainer({"generator": UNET, "stages": {"main": {**stage, "steps": 4}}}, "longer")
    longer.train()
    assert distance(longer.network, longer.generator) > 0


def test_an_optimizer_that_averages_itself_refuses_an_average(new_trainer):
    pytest.importorskip("schedulefree")
    stage = {"ema": 0.9, "optimizer": {"use": "schedule_free_adamw", "lr": 1e-3}}
    with pytest.raises(RecipeError, match=r"stages\.main\.ema: schedule_free_adamw averages the weights, too"):
        new_trainer({"stages": {"main": stage}}).check()


@pytest.mark.parametrize("ema", [0.99, {"decay": 0.99}, {"decay": 0.99, "warmup": True, "start": 0}])
def test_a_number_is_the_decay(new_trainer, ema):
    recipe = new_trainer({"stages": {"main": {"ema": ema}}}).run.recipe
    assert recipe.stages["main"].ema == EmaModel(decay=0.99, warmup=True, start=0)
