"""Adversarial training: steps at which each player is updated, and inputs of a critic's terms."""

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


def updated(built, number):
    """Run a step; return the players whose weights changed, and the step's values."""
    players = {"generator": built.generator, **{name: item.module for name, item in built.step.critics.items()}}
    before = {name: [item.clone() for item in module.parameters()] for name, module in players.items()}
    values = built(built.batch(number), number=number)
    changed = {
        name
        for name, module in players.items()
        if any(not torch.equal(old, new) for old, new in zip(before[name], module.parameters(), strict=True))
    }
    return changed, values


def test_a_critic_is_updated_every_few_steps_from_its_start(bench):
    built = bench(stage(every=2, start_at=1))
    assert [("patch" in updated(built, number)[0]) for number in range(5)] == [False, True, False, True, False]


def test_a_critic_is_trained_before_its_term_counts_for_the_generator(bench):
    built = bench(stage({"hinge": {"against": "patch", "start_at": 2}}))
    for number in range(4):
        changed, values = updated(built, number)
        assert "patch" in changed, "the critic is updated from the first step on"
        assert ("term/hinge" in values) == (number >= 2)


def test_a_lazy_term_is_computed_every_few_updates_and_weighted_as_many_times(bench):
    built = bench(stage({"r1": {"against": "patch", "weight": 2, "every": 3}}))
    for number in range(5):
        _, values = updated(built, number)
        assert ("term/patch.r1" in values) == (number % 3 == 0)
        if number % 3 == 0:
            torch.testing.assert_close(values["weighted/patch.r1"], 6 * values["term/patch.r1"])


def test_a_lazy_term_counts_the_updates_of_its_critic_rather_than_steps(bench):
    built = bench(stage({"r1": {"against": "patch", "every": 2}}, every=2))
    assert [("term/patch.r1" in updated(built, number)[1]) for number in range(5)] == [True, False, False, False, True]


def test_inputs_of_a_later_term_are_not_computed_before(bench):
    later = {
        "code": {
            "use": "contrastive",
            "start_at": 3,
            "inputs": {"a": "identity_code", "b": "partner_identity_code", "same": "same_identity"},
        },
    }
    built = bench({"terms": {"l1": {}, **later}})
    assert "partner" not in built.step.columns(built.step.active(0))
    assert "partner" in built.step.columns(built.step.active(3))


@pytest.mark.parametrize("use", ["r1", "r2", "gradient_penalty", "lecam"])
def test_a_regulariser_trains_the_critic_alone(bench, use):
    built = bench(stage({use: {"against": "patch"}}))
    assert [term.name for term in built.step.phases[0].terms] == ["hinge", use]
    assert use not in [term.name for term in built.step.phases[-1].terms]
    changed, values = updated(built, 0)
    assert changed == {"generator", "patch"}
    assert torch.isfinite(values[f"term/patch.{use}"])


def test_a_classifier_is_trained_with_real_images_and_trains_the_generator(bench):
    real = {
        "use": "cross_entropy",
        "against": "critic",
        "side": "critic",
        "inputs": {"logits": "real_pose_logits", "labels": "target_pose_class"},
    }
    fake = {
        "use": "cross_entropy",
        "against": "critic",
        "inputs": {"logits": "fake_pose_logits", "labels": "target_pose_class"},
    }
    built = bench(
        {
            "discriminators": {"critic": {"use": "attributes", "columns": ["pose"], "width": 0.125}},
            "terms": {"l1": {}, "real": real, "fake": fake},
        }
    )
    changed, values = updated(built, 0)
    assert changed == {"generator", "critic"}
    assert {"term/critic.real", "term/fake"} <= set(values)


def test_inputs_of_a_critic_rename_its_columns(bench):
    critic = {"use": "projection", "column": "pose", "width": 4, "levels": 2, "inputs": {"label": "target_pose_class"}}
    built = bench({"discriminators": {"critic": critic}, "terms": {"l1": {}, "hinge": {"against": "critic"}}})
    assert "target_pose_class" in built.step.columns(built.step.phases)
    assert updated(built, 0)[0] == {"generator", "critic"}


def test_images_of_a_critic_are_augmented_for_both_players(bench):
    plain = bench(stage())
    augmented = bench(stage(augment={"use": "diff_augment"}))
    first, second = (built(built.batch(0), number=0) for built in (plain, augmented))
    torch.testing.assert_close(first["term/l1"], second["term/l1"])
    assert not torch.equal(first["term/patch.hinge"], second["term/patch.hinge"])
    assert not torch.equal(first["term/hinge"], second["term/hinge"])


def test_an_adaptive_augmentation_observes_the_critic(bench):
    built = bench(stage(augment={"use": "diff_augment", "strength": 0.5, "target": 0.6, "reach": 10}))
    built(built.batch(0), number=0)
    assert float(built.step.critics["patch"].augment.level) == pytest.approx(0.4)


@pytest.mark.parametrize(
    ("terms", "message"),
    [
        ({"wgan": {"against": "patch"}}, "terms.wgan: and term 'hinge' are two games against discriminator 'patch'"),
        ({"r1": {}}, "terms.r1: loss r1 needs a discriminator"),
        ({"mse": {"side": "critic"}}, "terms.mse: loss mse needs a discriminator"),
    ],
)
def test_inconsistent_games_are_rejected(bench, terms, message):
    with pytest.raises(RecipeError, match=message):
        bench(stage(terms))


def test_only_stateful_losses_are_saved(bench):
    built = bench(stage({"lecam": {"against": "patch"}, "r1": {"against": "patch"}}))
    assert list(built.step.losses) == ["lecam"]
