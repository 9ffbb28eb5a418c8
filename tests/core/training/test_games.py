"""Games of several players: when each of them learns, and what a critic's terms may ask for."""

from __future__ import annotations

import pytest
import torch

from enface.errors import RecipeError

PATCH = {"use": "patch_gan", "width": 4, "layers": 1}


def stage(terms=None, **critic):
    return {
        "discriminators": {"patch": {**PATCH, **critic}},
        "terms": {"l1": {}, "hinge": {"against": "patch"}, **(terms or {})},
    }


def learned(made, number):
    """Which players' weights a step changed, and the values it gave."""
    players = {"generator": made.generator, **{name: item.module for name, item in made.step.critics.items()}}
    before = {name: [item.clone() for item in module.parameters()] for name, module in players.items()}
    values = made(made.batch(number), number=number)
    changed = {
        name
        for name, module in players.items()
        if any(not torch.equal(old, new) for old, new in zip(before[name], module.parameters(), strict=True))
    }
    return changed, values


def test_a_critic_learns_at_every_so_many_steps_from_its_start(bench):
    made = bench(stage(every=2, start_at=1))
    assert [("patch" in learned(made, number)[0]) for number in range(5)] == [False, True, False, True, False]


def test_a_term_counts_from_its_start_so_a_critic_can_warm_up(bench):
    made = bench(stage({"hinge": {"against": "patch", "start_at": 2}}))
    for number in range(4):
        changed, values = learned(made, number)
        assert "patch" in changed, "the critic learns from the first step"
        assert ("term/hinge" in values) == (number >= 2)


def test_a_lazy_term_counts_at_every_so_many_updates_and_as_much_more(bench):
    made = bench(stage({"r1": {"against": "patch", "weight": 2, "every": 3}}))
    for number in range(5):
        _, values = learned(made, number)
        assert ("term/patch.r1" in values) == (number % 3 == 0)
        if number % 3 == 0:
            torch.testing.assert_close(values["weighted/patch.r1"], 6 * values["term/patch.r1"])


def test_a_lazy_term_counts_its_critics_updates_not_steps(bench):
    made = bench(stage({"r1": {"against": "patch", "every": 2}}, every=2))
    assert [("term/patch.r1" in learned(made, number)[1]) for number in range(5)] == [True, False, False, False, True]


def test_what_comes_later_is_not_computed_before(bench):
    later = {
        "code": {
            "use": "contrastive",
            "start_at": 3,
            "inputs": {"a": "identity_code", "b": "partner_identity_code", "same": "same_identity"},
        },
    }
    made = bench({"terms": {"l1": {}, **later}})
    assert "partner" not in made.step.columns(made.step.active(0))
    assert "partner" in made.step.columns(made.step.active(3))


@pytest.mark.parametrize("use", ["r1", "r2", "gradient_penalty", "lecam"])
def test_a_regulariser_teaches_the_critic_alone(bench, use):
    made = bench(stage({use: {"against": "patch"}}))
    assert [term.name for term in made.step.phases[0].terms] == ["hinge", use]
    assert use not in [term.name for term in made.step.phases[-1].terms]
    changed, values = learned(made, 0)
    assert changed == {"generator", "patch"}
    assert torch.isfinite(values[f"term/patch.{use}"])


def test_a_classifying_critic_learns_from_real_images_and_teaches_the_generator(bench):
    real = {
        "use": "cross_entropy",
        "against": "judge",
        "side": "critic",
        "inputs": {"logits": "real_pose_logits", "labels": "target_pose_class"},
    }
    fake = {
        "use": "cross_entropy",
        "against": "judge",
        "inputs": {"logits": "fake_pose_logits", "labels": "target_pose_class"},
    }
    made = bench(
        {
            "discriminators": {"judge": {"use": "attributes", "columns": ["pose"], "width": 0.125}},
            "terms": {"l1": {}, "real": real, "fake": fake},
        }
    )
    changed, values = learned(made, 0)
    assert changed == {"generator", "judge"}
    assert {"term/judge.real", "term/fake"} <= set(values)


def test_inputs_of_a_critic_rename_its_columns(bench):
    judge = {"use": "projection", "column": "pose", "width": 4, "levels": 2, "inputs": {"label": "target_pose_class"}}
    made = bench({"discriminators": {"judge": judge}, "terms": {"l1": {}, "hinge": {"against": "judge"}}})
    assert "target_pose_class" in made.step.columns(made.step.phases)
    assert learned(made, 0)[0] == {"generator", "judge"}


def test_what_a_critic_is_shown_is_augmented_for_both_players(bench):
    plain = bench(stage())
    changed = bench(stage(augment={"use": "diff_augment"}))
    first, second = (made(made.batch(0), number=0) for made in (plain, changed))
    torch.testing.assert_close(first["term/l1"], second["term/l1"])
    assert not torch.equal(first["term/patch.hinge"], second["term/patch.hinge"])
    assert not torch.equal(first["term/hinge"], second["term/hinge"])


def test_an_adaptive_augmentation_hears_of_the_critic(bench):
    made = bench(stage(augment={"use": "diff_augment", "strength": 0.5, "target": 0.6, "reach": 10}))
    made(made.batch(0), number=0)
    assert float(made.step.critics["patch"].augment.level) == pytest.approx(0.4)


@pytest.mark.parametrize(
    ("terms", "says"),
    [
        ({"wgan": {"against": "patch"}}, "terms.wgan: and term 'hinge' are two games against discriminator 'patch'"),
        ({"r1": {}}, "terms.r1: loss r1 needs a discriminator"),
        ({"mse": {"side": "critic"}}, "terms.mse: loss mse needs a discriminator"),
    ],
)
def test_games_that_cannot_be_played(bench, terms, says):
    with pytest.raises(RecipeError, match=says):
        bench(stage(terms))


def test_only_what_changes_in_a_loss_is_kept(bench):
    made = bench(stage({"lecam": {"against": "patch"}, "r1": {"against": "patch"}}))
    assert list(made.step.losses) == ["lecam"]
