"""One training step: values computed, players updated, and numerical results."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from enface.errors import NonFiniteLossError
from enface.plugin.components import Constant
from enface.training.checkpoint import digest
from enface.training.terms import MaskUse, Term

CONTRAST = {
    "use": "contrastive",
    "inputs": {"a": "identity_code", "b": "partner_identity_code", "same": "same_identity"},
}
ADVERSARIAL = {
    "discriminators": {"patch": {"use": "patch_gan", "width": 8, "layers": 1}},
    "terms": {"l1": {}, "gan": {"use": "hinge", "against": "patch", "weight": 0.1}},
}
UNET = {"use": "unet", "width": 4, "depth": 3}
# Layers whose gradients do not depend on how a batch is cut: no batch statistics.
CRITIC = {"use": "patch_gan", "width": 4, "layers": 1, "norm": "instance"}


class Calls:
    """Counts a module's calls."""

    def __init__(self, module: nn.Module) -> None:
        self.count = 0
        module.register_forward_hook(self._one)

    def _one(self, *_: object) -> None:
        self.count += 1


def flops(built, batch):
    """Count the floating-point operations of one step."""
    with FlopCounterMode(display=False) as counter:
        built(batch)
    return counter.get_total_flops()


# ------------------------------------------------------------------ values computed


def test_the_second_branch_runs_only_for_a_term_that_requests_it(bench):
    plain, contrast = bench({"terms": {"l1": {}}}), bench({"terms": {"l1": {}, "pair": CONTRAST}})
    for built, encoder, decoder in ((plain, 1, 1), (contrast, 2, 1)):
        calls = Calls(built.generator.encoder), Calls(built.generator.decoder)
        built(built.batch())
        assert (calls[0].count, calls[1].count) == (encoder, decoder)
    assert "partner" not in plain.step.columns(plain.step.phases)
    assert "partner" in contrast.step.columns(contrast.step.phases)


def test_terms_on_codes_alone_do_not_run_the_decoder(bench):
    built = bench({"terms": {"pair": CONTRAST}})
    calls = Calls(built.generator.encoder), Calls(built.generator.decoder)
    built(built.batch())
    assert (calls[0].count, calls[1].count) == (2, 0)
    assert built.step.wants(built.step.phases) == {"identity_code", "partner_identity_code"}
    assert all(parameter.grad is None for parameter in built.generator.decoder.parameters())


def test_the_second_branch_costs_one_pass_of_the_encoder(bench):
    plain, contrast = bench({"terms": {"l1": {}}}), bench({"terms": {"l1": {}, "pair": CONTRAST}})
    batch = plain.batch()
    with FlopCounterMode(display=False) as counter:
        plain.generator.encoder(batch["source"]).sum().backward()
    encoder = counter.get_total_flops()
    assert flops(contrast, contrast.batch()) - flops(plain, batch) == encoder > 0


def test_no_gradient_is_computed_in_a_frozen_encoder(bench):
    free = bench({"terms": {"l1": {}}})
    frozen = bench({"terms": {"l1": {}}, "freeze": ["encoder"]})
    batch = free.batch()
    with FlopCounterMode(display=False) as forward, torch.no_grad():
        code = free.generator.encoder(batch["source"])
        free.generator.decoder(code[:, : free.generator.split[0]])
    all_operations, fewer = flops(free, batch), flops(frozen, frozen.batch())
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        free.generator.encoder(batch["source"])
    # The backward pass of a convolution costs twice its forward pass; the first layer needs no gradient of the image.
    assert all_operations - fewer > 1.5 * counter.get_total_flops()
    assert fewer > forward.get_total_flops()
    assert all(parameter.grad is None for parameter in frozen.generator.encoder.parameters())
    assert all(parameter.grad is not None for parameter in frozen.generator.decoder.parameters())


def test_a_frozen_part_keeps_its_bits_statistics_included(bench):
    built = bench({"terms": {"l1": {}}, "freeze": ["encoder"]})
    encoder, decoder = digest(built.generator.encoder), digest(built.generator.decoder)
    for number in range(3):
        built(built.batch(number), number=number)
    assert digest(built.generator.encoder) == encoder
    assert digest(built.generator.decoder) != decoder
    assert not built.generator.encoder.training
    assert built.generator.decoder.training


def test_statistics_of_a_trained_part_change(bench):
    built = bench({"terms": {"l1": {}}})
    norm = next(module for module in built.generator.encoder.modules() if isinstance(module, nn.BatchNorm2d))
    before = norm.running_mean.clone()
    built(built.batch())
    assert not torch.equal(norm.running_mean, before)


def test_one_generator_pass_serves_all_phases(bench):
    built = bench(ADVERSARIAL)
    calls = Calls(built.generator), Calls(built.generator.encoder)
    built(built.batch())
    assert [call.count for call in calls] == [1, 1]


def test_the_critic_sees_real_images_in_its_own_phase_only(bench):
    built = bench(ADVERSARIAL)
    calls = Calls(built.step.critics["patch"].module)
    built(built.batch())
    assert calls.count == 3, "real and fake for the critic, fake for the generator"


def test_real_features_are_computed_for_the_generator_if_its_term_requests_them(bench, plugin):
    body = (
        "class Matching(AdversarialLoss):\n    '''Features.'''\n"
        "    def forward(self, real_features, fake_features):\n"
        "        return (real_features[0].detach() - fake_features[0]).abs()\n"
        "    def critic(self, real_logits, fake_logits): return fake_logits - real_logits\n"
    )
    stage = {**ADVERSARIAL, "terms": {"matching": {"against": "patch"}}}
    built = bench(stage, plugins=[plugin(body, brings="Matching"), "TOY"])
    calls = Calls(built.step.critics["patch"].module)
    values = built(built.batch())
    assert calls.count == 4
    assert set(values) == {"term/matching", "weighted/matching", "term/patch.matching", "weighted/patch.matching"}


def test_each_of_two_critics_has_a_game_of_its_own(bench):
    critic = {"use": "patch_gan", "width": 4, "layers": 1}
    built = bench(
        {
            "discriminators": {"fine": critic, "coarse": {**critic, "layers": 2}},
            "terms": {"a": {"use": "hinge", "against": "fine"}, "b": {"use": "hinge", "against": "coarse"}},
        }
    )
    calls = [Calls(player.module) for player in built.step.critics.values()]
    values = built(built.batch())
    assert [call.count for call in calls] == [3, 3]
    assert {"term/fine.a", "term/coarse.b", "term/a", "term/b"} <= set(values)
    assert "term/fine.b" not in values


# ------------------------------------------------------------------ players updated


def run_phase(built, phase, batch):
    """Run one phase alone, as the step does."""
    named_values = built.step.named_values(0, built.step.wants(built.step.phases), 0, built.parts(batch)[0])
    if phase.player is not built.step.generator:
        named_values = {**named_values, "output": named_values["output"].detach()}
    values = {}
    built.step._learn(phase, 0, [named_values], 1, values)
    return values


def test_the_phase_of_a_critic_updates_that_critic_alone(bench):
    built = bench(ADVERSARIAL)
    phase, critic = built.step.phases[0], built.step.critics["patch"].module
    batch = built.batch()
    built.step.named_values(0, built.step.wants(built.step.phases), 0, built.parts(batch)[0])
    # Weights alone: the pass that computes the output changes running statistics.
    weights = [parameter.clone() for parameter in built.generator.parameters()]
    before = [parameter.clone() for parameter in critic.parameters()]
    values = run_phase(built, phase, batch)
    assert set(values) == {"term/patch.gan", "weighted/patch.gan"}
    assert all(parameter.grad is None for parameter in built.generator.parameters())
    assert all(map(torch.equal, weights, built.generator.parameters()))
    assert not all(map(torch.equal, before, critic.parameters()))


def test_the_phase_of_the_generator_updates_no_critic(bench):
    built = bench(ADVERSARIAL)
    critic = built.step.critics["patch"].module
    batch = built.batch()
    run_phase(built, built.step.phases[0], batch)
    weights = [parameter.clone() for parameter in critic.parameters()]
    gradients = [parameter.grad.clone() for parameter in critic.parameters()]
    before = [parameter.clone() for parameter in built.generator.decoder.parameters()]
    run_phase(built, built.step.phases[1], batch)
    assert all(map(torch.equal, weights, critic.parameters()))
    assert all(map(torch.equal, gradients, (parameter.grad for parameter in critic.parameters())))
    assert not all(map(torch.equal, before, built.generator.decoder.parameters()))


def test_the_adversarial_gradient_reaches_the_generator(bench):
    built = bench({**ADVERSARIAL, "terms": {"gan": {"use": "hinge", "against": "patch"}}})
    built(built.batch())
    assert all(float(parameter.grad.abs().sum()) > 0 for parameter in built.generator.decoder[-1].parameters())


def test_critics_are_updated_before_the_generator(bench):
    assert [phase.label for phase in bench(ADVERSARIAL).step.phases] == ["patch.", ""]


# ------------------------------------------------------------------ accumulation


def in_one_and_two_parts(bench, stage, **keys):
    """Run two steps with the batch in one part and, on a second stage, in two."""
    results = []
    for count in (1, 2):
        built = bench({**stage, "accumulate": count}, generator=UNET, **keys)
        batch = built.batch()
        values = [built(batch, number=number, count=count) for number in range(2)]
        results.append((built, values))
    return results


@pytest.mark.parametrize("adversarial", [False, True], ids=["l1", "adversarial"])
def test_two_parts_give_the_same_gradients_and_weights_as_one(bench, adversarial):
    stage = {"terms": {"l1": {}}, "optimizer": {"use": "sgd", "lr": 0.1}}
    if adversarial:
        stage |= ADVERSARIAL | {"discriminators": {"patch": {**CRITIC, "optimizer": {"use": "sgd", "lr": 0.1}}}}
    (one, values), (two, others) = in_one_and_two_parts(bench, stage)
    for first, second in zip(values, others, strict=True):
        assert first.keys() == second.keys()
        for name in first:
            torch.testing.assert_close(first[name], second[name], rtol=1e-4, atol=1e-6)
    modules = [(one.generator, two.generator)]
    modules += [(one.step.critics[name].module, two.step.critics[name].module) for name in one.step.critics]
    for first, second in modules:
        for a, b in zip(first.parameters(), second.parameters(), strict=True):
            torch.testing.assert_close(a.grad, b.grad, rtol=1e-3, atol=1e-6)
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


def test_the_first_pass_for_critics_leaves_statistics_unchanged(bench):
    critic = {"patch": {**CRITIC, "optimizer": {"use": "sgd", "lr": 0.0}}}
    plain = bench({"terms": {"l1": {}}, "accumulate": 2, "optimizer": {"use": "sgd", "lr": 0.0}})
    game = bench({**ADVERSARIAL, "discriminators": critic, "accumulate": 2, "optimizer": {"use": "sgd", "lr": 0.0}})
    for built in (plain, game):
        built(built.batch(), count=2)
    assert digest(plain.generator) == digest(game.generator)


def test_dropout_is_the_same_for_critic_and_generator(bench, plugin):
    # The first pass, for critics, and the second, with gradients, must give the same image.
    body = (
        "SEEN = []\nclass Watching(AdversarialLoss):\n    '''Stores the outputs that it receives.'''\n"
        "    def forward(self, fake_logits, output):\n"
        "        SEEN.append(output.detach().clone()); return fake_logits\n"
        "    def critic(self, fake_logits, output):\n"
        "        SEEN.append(output.detach().clone()); return fake_logits\n"
    )
    stage = {"discriminators": {"patch": CRITIC}, "terms": {"watching": {"against": "patch"}}, "accumulate": 2}
    built = bench(stage, generator={**UNET, "dropout": 0.5}, plugins=[plugin(body, brings="Watching"), "TOY"])
    built(built.batch(), count=2)
    import sys

    seen = sys.modules[type(built.step.phases[0].terms[0].function.__self__).__module__].SEEN
    assert len(seen) == 4
    assert torch.equal(seen[0], seen[2])
    assert torch.equal(seen[1], seen[3])
    assert not torch.equal(seen[0], seen[1])


# ------------------------------------------------------------------ numerical results


def term(function, arguments, mask=None, against=None):
    return Term("t", function, arguments, Constant(value=1.0), mask, against)


class Half(nn.Module):
    """Weights 4 on the left half and 1 on the right."""

    def forward(self):
        weights = torch.ones(1, 1, 8, 8)
        weights[..., :4] = 4
        return weights


IMAGES = {"output": "output", "target": "target"}


def images():
    rng = torch.Generator().manual_seed(0)
    return {name: torch.rand(2, 3, 8, 8, generator=rng) * 2 - 1 for name in ("output", "target")}


def square(output, target):
    return (output - target).square()


def test_a_mask_on_the_error_weights_the_map():
    names, weights = images(), Half()()
    value = term(square, IMAGES, MaskUse("m", Half(), {}, "error"))(names)
    torch.testing.assert_close(value, (weights * square(**names)).mean())


def test_a_squared_error_squares_a_mask_on_images():
    names, weights = images(), Half()()
    value = term(square, IMAGES, MaskUse("m", Half(), {}, "images"))(names)
    torch.testing.assert_close(value, (weights**2 * square(**names)).mean())


def test_a_mask_on_images_does_not_change_other_inputs():
    names = {**images(), "regions": torch.ones(2, 3, 8, 8)}
    use = MaskUse("m", Half(), {}, "images")
    value = term(lambda output, regions: output + regions, {"output": "output", "regions": "regions"}, use)(names)
    torch.testing.assert_close(value, (names["output"] * Half()() + 1).mean())


def test_a_mask_is_averaged_to_the_size_of_a_smaller_map():
    names = images()
    value = term(
        lambda output, target: square(output, target)[..., ::2, ::2], IMAGES, MaskUse("m", Half(), {}, "error")
    )(names)
    weights = torch.ones(1, 1, 4, 4)
    weights[..., :2] = 4
    torch.testing.assert_close(value, (weights * square(**names)[..., ::2, ::2]).mean())


def test_scales_are_averaged_with_equal_weights():
    small, large = torch.full((2, 1, 2, 2), 3.0), torch.full((2, 1, 8, 8), 1.0)
    names = {"real_logits": (small, large), "fake_logits": (-small, large)}
    value = term(lambda real_logits, fake_logits: real_logits + fake_logits, {n: n for n in names})(names)
    assert value.item() == pytest.approx((0 + 2) / 2)


def test_features_are_passed_together():
    names = {"fake_features": (torch.ones(1, 2), torch.zeros(1, 3))}
    of_features = term(
        lambda fake_features: fake_features[0].sum(1) + len(fake_features), {"fake_features": "fake_features"}
    )
    assert of_features(names).item() == 4


def test_weights_follow_their_schedule(bench):
    built = bench({"terms": {"l1": {"weight": {"use": "linear", "start": 1, "end": 3, "over": 2}}}})
    batch = built.batch()
    for number, weight in ((0, 1), (1, 2), (2, 3), (9, 3)):
        values = built(batch, number=number)
        torch.testing.assert_close(values["weighted/l1"], weight * values["term/l1"])


def test_weight_and_critic_weight_scale_the_term_of_their_own_player(bench):
    stage = {**ADVERSARIAL, "terms": {"gan": {"use": "hinge", "against": "patch", "weight": 2, "critic_weight": 5}}}
    built = bench(stage)
    values = built(built.batch())
    torch.testing.assert_close(values["weighted/gan"], 2 * values["term/gan"])
    torch.testing.assert_close(values["weighted/patch.gan"], 5 * values["term/patch.gan"])


def test_the_learning_rate_follows_its_schedule(bench):
    built = bench(
        {"terms": {"l1": {}}, "optimizer": {"use": "sgd", "lr": {"use": "step_decay", "start": 0.4, "every": 1}}}
    )
    built(built.batch(), number=2)
    assert built.step.generator.optimizer.param_groups[0]["lr"] == pytest.approx(0.1)


def test_one_step_of_sgd_is_the_gradient_of_the_weighted_sum(bench):
    built = bench(
        {"terms": {"l1": {"weight": 3}, "mse": {"weight": 0.5}}, "optimizer": {"use": "sgd", "lr": 0.1}}, generator=UNET
    )
    batch = built.batch()
    output = built.generator(frozenset({"output"}), source=batch["source"])["output"]
    objective = 3 * (output - batch["target"]).abs().mean() + 0.5 * (output - batch["target"]).square().mean()
    gradients = torch.autograd.grad(objective, list(built.generator.parameters()))
    before = [parameter.detach().clone() for parameter in built.generator.parameters()]
    built(batch)
    for old, gradient, new in zip(before, gradients, built.generator.parameters(), strict=True):
        torch.testing.assert_close(new, old - 0.1 * gradient, rtol=1e-4, atol=1e-6)


def gradient_norm(network):
    gradients = [parameter.grad for parameter in network.parameters() if parameter.grad is not None]
    return math.sqrt(sum(float(gradient.square().sum()) for gradient in gradients))


def test_gradients_are_clipped_to_the_norm(bench):
    built = bench({"terms": {"l1": {"weight": 100}}, "clip": 0.5})
    built(built.batch())
    norm = gradient_norm(built.generator)
    assert norm == pytest.approx(0.5, rel=1e-4)


def test_gradients_are_not_clipped_without_clip(bench):
    built = bench({"terms": {"l1": {"weight": 100}}})
    built(built.batch())
    norm = gradient_norm(built.generator)
    assert norm > 0.5


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_losses_receive_float32_at_every_precision(bench, plugin, precision):
    body = (
        "SEEN = {}\nclass Watching(AdversarialLoss):\n    '''Stores the types that it receives.'''\n"
        "    def forward(self, output, target, fake_logits, fake_features):\n"
        "        SEEN.update(output=output.dtype, target=target.dtype, logits=fake_logits.dtype,\n"
        "                    features=fake_features[0].dtype, autocast=torch.is_autocast_enabled('cpu'))\n"
        "        return (output @ target.mT).square()\n"
        "    def critic(self, fake_logits): SEEN.update(critic=fake_logits.dtype); return fake_logits\n"
    )
    stage = {"discriminators": {"patch": CRITIC}, "terms": {"watching": {"against": "patch"}}}
    built = bench(stage, engine={"precision": precision}, plugins=[plugin(body, brings="Watching"), "TOY"])
    inner_types = []
    built.generator.decoder[0][0].register_forward_hook(lambda module, args, output: inner_types.append(output.dtype))
    values = built(built.batch())
    import sys

    seen = sys.modules[type(built.step.phases[0].terms[0].function.__self__).__module__].SEEN
    assert inner_types == [torch.bfloat16 if precision == "bf16" else torch.float16]
    assert seen.pop("autocast") is False
    assert set(seen.values()) == {torch.float32}
    assert values["term/watching"].dtype == torch.float32
    assert all(parameter.dtype == torch.float32 for parameter in built.generator.parameters())


def test_fp16_skips_an_update_that_overflows_and_scales_down(bench):
    built = bench({"terms": {"l1": {"weight": 1e8}}}, engine={"precision": "fp16"})
    weights, scale = (
        [parameter.clone() for parameter in built.generator.parameters()],
        built.step.generator.scaler.get_scale(),
    )
    built(built.batch())
    assert all(map(torch.equal, weights, built.generator.parameters()))
    assert built.step.generator.scaler.get_scale() < scale


# ------------------------------------------------------------------ values that are not finite


def test_a_term_that_is_not_finite_is_reported_before_a_weight_changes(bench, plugin):
    body = (
        "class Broken(Loss):\n    '''NaN from step 2 on.'''\n"
        "    def forward(self, output, step): return output * (float('nan') if step >= 2 else 1.0)\n"
    )
    built = bench({"terms": {"l1": {}, "broken": {}}}, plugins=[plugin(body, brings="Broken"), "TOY"])
    for number in (0, 1):
        built(built.batch(number), number=number)
    weights = [parameter.clone() for parameter in built.generator.parameters()]
    with pytest.raises(NonFiniteLossError, match=r"^term broken became NaN or infinite$"):
        built(built.batch(2), number=2)
    assert all(map(torch.equal, weights, built.generator.parameters()))


def test_the_name_of_a_critic_term_includes_the_critic(bench, plugin):
    body = (
        "class Broken(AdversarialLoss):\n    '''Infinite.'''\n"
        "    def forward(self, fake_logits): return fake_logits\n"
        "    def critic(self, fake_logits): return fake_logits / 0\n"
    )
    stage = {"discriminators": {"patch": CRITIC}, "terms": {"broken": {"against": "patch"}}}
    built = bench(stage, plugins=[plugin(body, brings="Broken"), "TOY"])
    with pytest.raises(NonFiniteLossError, match=r"^term patch\.broken"):
        built(built.batch())
