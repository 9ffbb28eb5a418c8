"""Adversarial training: steps at which each player is updated, and inputs of a critic's terms."""

from __future__ import annotations

import math

import pytest
import torch

from enface.errors import PluginError, RecipeError

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
    always = bench(stage({"r1": {"against": "patch", "weight": 6}}))
    for number in range(5):
        _, values = updated(built, number)
        assert ("term/patch.r1" in values) == (number % 3 == 0)
        if number % 3 == 0:
            # The value shown is the mean over updates.
            torch.testing.assert_close(values["weighted/patch.r1"], 2 * values["term/patch.r1"])
        if number == 0:
            updated(always, number)
            critics = (item.step.critics["patch"].module.state_dict() for item in (built, always))
            assert all(
                torch.equal(one, other) for one, other in zip(*(state.values() for state in critics), strict=True)
            )


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
        ({"hinge": {"against": "patch", "mask": "half", "mask_on": "images"}}, "terms.hinge: sees neither output nor"),
    ],
)
def test_inconsistent_games_are_rejected(bench, terms, message):
    with pytest.raises(RecipeError, match=message):
        bench(stage(terms), masks={"half": {"use": "ellipse"}})


def test_an_adaptive_augmentation_observes_once_an_update(bench):
    augment = {"use": "diff_augment", "strength": 0.5, "target": 0.6, "reach": 10}
    built = bench({**stage(augment=augment), "accumulate": 2})
    built(built.batch(0), number=0, count=2)
    assert float(built.step.critics["patch"].augment.level) == pytest.approx(0.4)


# ------------------------------------------------------------------ pairs under augmentation

AUGMENT = {"use": "diff_augment"}


def equal_pairs(built):
    """Return the values of the generator's terms for outputs that equal their targets."""
    target = built.batch(0)["target"]
    phase = built.step.phases[-1]
    torch.manual_seed(0)
    inputs = built.step.with_critics(phase, {"target": target, "output": target.clone(), "step": 0})
    return {term.name: term(inputs[term.against]) for term in phase.terms if term.name != "l1"}


def test_feature_matching_of_equal_images_is_0_under_augmentation(bench):
    values = equal_pairs(bench(stage({"feature_matching": {"against": "patch"}}, augment=AUGMENT)))
    assert float(values["feature_matching"].detach()) == 0


def test_relativistic_pairs_of_equal_images_are_even_under_augmentation(bench):
    terms = {"hinge": {"use": "relativistic_paired", "against": "patch"}}
    values = equal_pairs(bench(stage(terms, augment=AUGMENT)))
    # softplus(real - fake) of equal logits at every position.
    assert float(values["hinge"].detach()) == pytest.approx(math.log(2), abs=1e-6)


def test_real_and_fake_draw_separately_if_no_term_compares_them(bench):
    built = bench(stage({"relativistic_average": {"against": "patch"}, "hinge": False}, augment=AUGMENT))
    target = built.batch(0)["target"]
    inputs = built.step.with_critics(built.step.phases[-1], {"target": target, "output": target.clone(), "step": 0})
    assert not torch.equal(inputs["patch"]["real_logits"], inputs["patch"]["fake_logits"])


def test_one_draw_serves_both_images_and_the_next_step_draws_another(bench):
    built = bench(stage({"feature_matching": {"against": "patch"}}, augment=AUGMENT))
    target = built.batch(0)["target"]
    named = {"target": target, "output": target.clone(), "step": 0}
    first, second = (built.step.with_critics(built.step.phases[-1], named)["patch"] for _ in range(2))
    assert torch.equal(first["real_image"], first["fake_image"])
    assert not torch.equal(first["real_image"], second["real_image"])


# ------------------------------------------------------------------ losses with state

LECAM = {"use": "lecam", "against": "patch"}


def fixed_logits(built, *scales):
    """Let the critic give constant logits at each scale: c for the target, -c for the output."""
    critic, target = built.step.critics["patch"], built.batch(0)["target"]

    def call(image, **_):
        sign = 1 if torch.equal(image, target) else -1
        # A gradient must reach the critic.
        zero = 0 * sum(parameter.sum() for parameter in critic.parameters)
        logits = tuple(torch.full((len(image), 1, 2, 2), float(sign * size)) + zero for size in scales)
        return {"logits": logits if len(logits) > 1 else logits[0]}

    critic.call = call


def test_lecam_keeps_averages_for_each_scale(bench):
    terms = {"l1": {}, "hinge": {"against": "patch"}, "lecam": LECAM}
    critic = {"use": "multi_scale", "width": 4, "layers": 1, "scales": 2}
    built = bench({"discriminators": {"patch": critic}, "terms": terms})
    fixed_logits(built, 1, 5)
    for number in range(2):
        values = built(built.batch(0), number=number)
        # (1 + 1)^2 + (1 + 1)^2 and (5 + 5)^2 + (5 + 5)^2, averaged.
        assert float(values["term/patch.lecam"]) == pytest.approx(104)
    averages = {name: loss.averages.tolist() for name, loss in built.step.losses.items()}
    assert averages == {"lecam": pytest.approx([1, -1]), "lecam.1": pytest.approx([5, -5])}


def test_a_critic_that_hides_its_scales_is_named(bench):
    built = bench(stage({"lecam": LECAM}))
    fixed_logits(built, 1, 5)
    with pytest.raises(PluginError, match="'patch' gives logits of 2 scales but has logit_scales = 1; set it to 2"):
        built(built.batch(0))


@pytest.mark.parametrize("parts", [2, 4])
def test_parts_of_a_batch_change_a_running_average_once(bench, parts):
    critic = {"norm": "none", "optimizer": {"use": "sgd", "lr": 0.0}}
    stages = stage({"lecam": {**LECAM, "decay": 0.9}}, **critic) | {"optimizer": {"use": "sgd", "lr": 0.0}}
    averages, sums = [], []
    for count in (1, parts):
        built = bench({**stages, "accumulate": count}, generator={"use": "unet", "width": 4, "depth": 3})
        for number in range(3):
            built(built.batch(number), number=number, count=count)
        averages.append(built.step.losses["lecam"].averages)
        sums.append(built.step.losses["lecam"].sums)
    torch.testing.assert_close(averages[0], averages[1])
    # 1 - 0.9^3: three updates, not three times as many as there are parts.
    assert [float(item[2]) for item in sums] == pytest.approx([0.271, 0.271])


def test_processes_keep_the_mean_of_their_changes(bench, monkeypatch):
    built = bench(stage({"lecam": {**LECAM, "decay": 0.9}}))
    # The other process, whose changes are 0, is simulated.
    monkeypatch.setattr(built.engine, "processes", 2)
    monkeypatch.setattr(built.engine, "any", lambda flag: flag)
    monkeypatch.setattr(built.engine, "average_tensors", lambda tensors: [tensor.div_(2) for tensor in tensors])
    fixed_logits(built, 3)
    built(built.batch(0))
    assert built.step.losses["lecam"].sums.tolist() == pytest.approx([0.15, -0.15, 0.05])


def test_a_lazy_running_average_changes_only_when_its_term_is_active(bench):
    built = bench(stage({"lecam": {**LECAM, "decay": 0.9, "every": 2}}))
    for number in range(4):
        built(built.batch(number), number=number)
    # 1 - 0.9^2: steps 0 and 2.
    assert float(built.step.losses["lecam"].sums[2]) == pytest.approx(0.19)


def test_only_stateful_losses_are_saved(bench):
    built = bench(stage({"lecam": {"against": "patch"}, "r1": {"against": "patch"}}))
    assert list(built.step.losses) == ["lecam"]
