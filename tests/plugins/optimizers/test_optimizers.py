"""Optimizers that are components, and what every optimizer of a recipe promises."""

from __future__ import annotations

import pytest
import torch
import yaml
from torch import nn

from enface import RecipeError
from enface_plugins.optimizers.muon import Muon, orthogonalized

PACKAGES = {
    "schedule_free_adamw": "schedulefree",
    "schedule_free_sgd": "schedulefree",
    "prodigy": "prodigyopt",
    "pytorch_optimizer": "pytorch_optimizer",
}
OPTIMIZERS = [
    {"use": "adam", "lr": 1e-3},
    {"use": "muon", "lr": 1e-3, "weight_decay": 0.1},
    {"use": "schedule_free_adamw", "lr": 1e-3},
    {"use": "schedule_free_sgd", "lr": 1e-2},
    {"use": "prodigy", "lr": 1.0},
    {"use": "pytorch_optimizer", "name": "lion", "lr": 1e-4},
    {"use": "adam", "lr": 1e-3, "groups": {"encoder": {"parts": ["encoder"], "lr_scale": 0.1, "betas": [0.5, 0.9]}}},
]


def require(optimizer):
    if optimizer["use"] in PACKAGES:
        pytest.importorskip(PACKAGES[optimizer["use"]])


def stages(optimizer, steps=6):
    terms = {"l1": {}}
    return {"main": False, "one": {"steps": steps, "batch": 4, "optimizer": optimizer, "terms": terms}}


# ------------------------------------------------------------------ muon


def test_muon_moves_a_matrix_as_torch_does():
    torch.manual_seed(0)
    ours, theirs = nn.Parameter(torch.randn(6, 4)), nn.Parameter(torch.empty(6, 4))
    theirs.data.copy_(ours)
    mine = Muon(weight_decay=0.1).build([{"params": [ours]}], 0.02)
    reference = torch.optim.Muon([theirs], lr=0.02, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
    for _ in range(3):
        gradient = torch.randn(6, 4)
        for parameter, optimizer in ((ours, mine), (theirs, reference)):
            parameter.grad = gradient.clone()
            optimizer.step()
    # The reference iterates in bfloat16.
    torch.testing.assert_close(ours, theirs, atol=2e-3, rtol=0)


def test_muon_moves_vectors_as_adamw_does_without_decay():
    ours, theirs = (nn.Parameter(torch.arange(3.0)) for _ in range(2))
    mine = Muon(weight_decay=0.1).build([{"params": [ours]}], 0.02)
    reference = torch.optim.AdamW([theirs], lr=0.02, weight_decay=0.0, fused=True)
    for parameter, optimizer in ((ours, mine), (theirs, reference)):
        parameter.grad = torch.tensor([1.0, -2.0, 0.5])
        optimizer.step()
    assert torch.equal(ours, theirs)


@pytest.mark.parametrize("shape", [(8, 3), (3, 8), (5, 5)])
def test_singular_values_become_nearly_one(shape):
    torch.manual_seed(1)
    values = torch.linalg.svdvals(orthogonalized(torch.randn(*shape), 5))
    assert values.min() > 0.6
    assert values.max() < 1.3


def test_a_convolution_kernel_is_a_matrix():
    torch.manual_seed(2)
    kernel, matrix = nn.Parameter(torch.randn(4, 2, 3, 3)), nn.Parameter(torch.empty(4, 18))
    matrix.data.copy_(kernel.flatten(1))
    gradient = torch.randn(4, 2, 3, 3)
    for parameter, given in ((kernel, gradient), (matrix, gradient.flatten(1))):
        optimizer = Muon().build([{"params": [parameter]}], 0.1)
        parameter.grad = given.clone()
        optimizer.step()
    torch.testing.assert_close(kernel.flatten(1), matrix)


# ------------------------------------------------------------------ every optimizer


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda item: item["use"] + "-groups" * ("groups" in item))
def test_a_resumed_run_has_the_same_bits(new_trainer, monkeypatch, optimizer):
    from enface.training.checkpoint import digest
    from enface.training.trainer import Interrupted

    require(optimizer)
    content = {"stages": stages(optimizer), "log": {"checkpoint": 2}}
    whole = new_trainer(content, "whole")
    before = digest(whole.generator)
    whole.train()
    assert digest(whole.generator) != before
    cut = new_trainer(content, "cut")
    one_step = type(cut)._one_step

    def interrupted(self, step, plan, stage, current):
        if current == 3:
            self._ask_to_stop(15)
        return one_step(self, step, plan, stage, current)

    monkeypatch.setattr(type(cut), "_one_step", interrupted)
    with pytest.raises(Interrupted):
        cut.train()
    monkeypatch.setattr(type(cut), "_one_step", one_step)
    again = type(cut)(cut.run)
    again.train(resume=True)
    assert digest(again.generator) == digest(whole.generator)


def test_a_schedule_free_checkpoint_holds_the_averaged_weights(new_trainer):
    pytest.importorskip("schedulefree")
    from enface.training.checkpoint import load, saved_steps

    content = {"stages": stages({"use": "schedule_free_adamw", "lr": 1e-2}), "log": {"checkpoint": 4, "keep": 5}}
    trainer = new_trainer(content)
    trainer.train()
    amid, last = (load(path) for path in saved_steps(trainer.run.directory))
    averaged = amid.part("generator")
    trained = amid.part("trained")
    assert trained
    assert not any(torch.equal(averaged[name], value) for name, value in zip(averaged, trained.values(), strict=False))
    assert not last.part("trained")
    for name, value in trainer.generator.state_dict().items():
        assert torch.equal(last.part("generator")[name], value)


@pytest.mark.parametrize(
    ("optimizer", "message"),
    [
        ({"betas": [0.9]}, r"optimizer\.betas"),
        ({"amsgrad": "x"}, r"optimizer\.amsgrad.*given: 'x'"),
        ({"capturable": True}, r"unknown key 'capturable'"),
        ({"betas": [0.9, 2.0]}, r"adam cannot use these options: Invalid beta"),
        ({"use": "adamm"}, r"there is no optimizer 'adamm'; did you mean 'adam'"),
        ({"use": "lbfgs"}, r"there is no optimizer 'lbfgs'"),
        ({"use": "muon", "momentum": 1.5}, r"optimizer\.momentum: .*less than 1"),
        ({"groups": {"a": {"weight_decay": 0}}}, r"selects nothing; give 'parts' or 'ndim'"),
        ({"groups": {"a": {"ndim": [1], "weight_decai": 0}}}, r"groups\.a\.weight_decai: unknown key .*'weight_decay'"),
        ({"groups": {"a": {"ndim": [1], "betas": [0.9]}}}, r"groups\.a\.betas"),
        ({"groups": {"a": {"ndim": [1], "betas": [0.9, 2]}}}, r"adam cannot use these options: Invalid beta"),
        (
            {"use": "muon", "groups": {"a": {"ndim": [1], "momenta": 0.9}}},
            r"unknown key 'momenta'; did you mean 'momentum'",
        ),
    ],
)
def test_bad_options_are_refused_when_the_recipe_is_read(load, optimizer, message):
    with pytest.raises(RecipeError, match=message):
        load({"stages": stages(optimizer)})


def test_groups_divide_the_parameters_in_order(bench):
    groups = {"vectors": {"ndim": [1], "weight_decay": 0.0}, "encoder": {"parts": ["encoder"], "lr_scale": 0.5}}
    stage = {"terms": {"l1": {}}, "optimizer": {"lr": 1e-3, "weight_decay": 0.1, "use": "adamw", "groups": groups}}
    made = bench(stage)
    player = made.step.generator
    vectors, encoder, rest = player.optimizer.param_groups
    assert all(item.dim() == 1 for item in vectors["params"])
    part = {id(item) for item in made.generator.parts["encoder"].parameters()}
    assert {id(item) for item in encoder["params"]} <= part
    assert sum(len(group["params"]) for group in (vectors, encoder, rest)) == len(player.parameters)
    made(made.batch())
    assert [group["lr"] for group in (vectors, encoder, rest)] == [1e-3, 5e-4, 1e-3]
    assert [group["weight_decay"] for group in (vectors, encoder, rest)] == [0.0, 0.1, 0.1]


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ({"a": {"parts": ["encodr"]}}, r"groups\.a\.parts.*there is no part 'encodr'; did you mean 'encoder'"),
        ({"a": {"ndim": [4]}, "b": {"ndim": [4]}}, r"groups\.b: selects no parameter"),
    ],
)
def test_groups_that_select_nothing_are_refused_at_build(bench, groups, message):
    with pytest.raises(RecipeError, match=message):
        bench({"terms": {"l1": {}}, "optimizer": {"lr": 1e-3, "groups": groups}})


def test_a_recipe_without_groups_keeps_its_digest(load):
    loaded = load({"stages": stages({"use": "adam", "lr": 1e-3})})
    assert "groups" not in yaml.safe_dump(loaded.recipe.dump())
