"""The smallest loss that violates each rule, and losses that violate none."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.functional import softplus

from enface import AdversarialLoss, CriticLoss, DataInfo, Loss
from enface.plugin.schema import requested_arguments
from enface_tools.conformance.losses import LOSS_RULES
from enface_tools.conformance.samples import sample_input, unknown_names


class Fine(Loss):
    unit = "per pixel"
    distance = True
    non_negative = True

    def forward(self, output, target):
        return (output - target).square()


class FineGame(AdversarialLoss):
    unit = "per logit"
    non_negative = True

    def forward(self, fake_logits):
        return softplus(-fake_logits)

    def critic(self, real_logits, fake_logits):
        return softplus(-real_logits) + softplus(fake_logits)


class Remembers(CriticLoss):
    stateful = True
    per_image = False

    def __init__(self):
        super().__init__()
        self.register_buffer("sums", torch.zeros(2))

    def critic(self, real_logits):
        mean = real_logits.detach().mean()
        self.sums.lerp_(torch.stack([mean, torch.ones_like(mean)]), 0.5)
        return (real_logits - self.sums[0] / self.sums[1]).square()


class FinePairs(AdversarialLoss):
    unit = "per logit"
    paired = True

    def forward(self, real_logits, fake_logits):
        return softplus(real_logits - fake_logits)

    def critic(self, real_logits, fake_logits):
        return softplus(fake_logits - real_logits)


class Scalar(Loss):
    def forward(self, output, target):
        return (output - target).square().mean()


class Double(Loss):
    def forward(self, output, target):
        return (output - target).double().square()


class SaysPixels(Loss):
    unit = "per pixel"

    def forward(self, output, target):
        return (output - target).square().mean((1, 2, 3))


class SaysBatch(Loss):
    unit = "per batch"

    def forward(self, output, target):
        return (output - target).square()


class NaiveLog(AdversarialLoss):
    def forward(self, fake_logits):
        return -(1 - torch.sigmoid(-fake_logits)).log()

    def critic(self, real_logits, fake_logits):
        return softplus(-real_logits) + softplus(fake_logits)


class Rounds(Loss):
    def forward(self, output, target):
        return (output.detach() - target).square()


class CriticsOnly(AdversarialLoss):
    paired = True

    def forward(self, real_logits, fake_logits):
        return softplus(real_logits - fake_logits.detach())

    def critic(self, real_logits, fake_logits):
        return softplus(fake_logits - real_logits)


class Root(Loss):
    def forward(self, output, target):
        return (output - target).square().sqrt()


class Contrast(Loss):
    def forward(self, output, target):
        difference = output.flatten(1).var(1).sqrt() - target.flatten(1).var(1).sqrt()
        return difference.square() + (output - target).square().flatten(1).mean(1)


class Offset(Loss):
    distance = True

    def forward(self, output, target):
        return (output - target).square() + 0.5


class Signed(Loss):
    non_negative = True

    def forward(self, output):
        return output


class PushesAway(Loss):
    def forward(self, output, target):
        return (-(output - target).square()).exp()


class Weighs(Loss):
    def forward(self, output, target):
        return (output - target).square().mean((1, 2, 3)) * (1.0 + torch.arange(len(output)) % 2)


class Together(Loss):
    def forward(self, output, target):
        error = (output - target).square()
        return error / (error.detach().max() + 1e-3)


class Contiguous(Loss):
    def forward(self, output, target):
        return (output - target).square().view(len(output), -1).mean(1)


class Precise(Loss):
    """Measures the digits that bfloat16 cannot represent."""

    def forward(self, output):
        return (output - output.detach().bfloat16().float()).abs() * 100


class Uncompilable(CriticLoss):
    def critic(self, real_image, judge):
        image = real_image.detach().requires_grad_()
        (slope,) = torch.autograd.grad(judge(image)["logits"].sum(), image, create_graph=True)
        return slope.square().sum((1, 2, 3))


class OtherWhenCompiled(Loss):
    def forward(self, output, target):
        return (output - target).square() * (2 if torch.compiler.is_compiling() else 1)


class OnTheCPU(Loss):
    def __init__(self):
        super().__init__()
        self.weights = torch.tensor([0.2, 0.5, 0.3]).view(1, 3, 1, 1)

    def forward(self, output, target):
        return (output - target).square() * self.weights


class Draws(Loss):
    def forward(self, output, target):
        # One factor for all places, so that the order of the batch does not matter.
        return (output - target).square() * (1 + torch.rand(()))


class Counts(Loss):
    def __init__(self):
        super().__init__()
        self.calls = 0

    def forward(self, output, target):
        self.calls += 1
        return (output - target).square() * self.calls


class Clamps(Loss):
    def forward(self, output, target):
        return (output - target.clamp_(-0.5, 0.5)).square() + (output - target).square()


class Trains(Loss):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, output, target):
        self.scale.requires_grad_()
        return (output - target).square() * self.scale


class Normalises(Loss):
    """Updates running statistics without using them."""

    def __init__(self, *, data: DataInfo):
        super().__init__()
        self.norm = nn.BatchNorm2d(data.channels["target"])

    def forward(self, output, target):
        self.norm(output)
        return (output - target).square()


class Forgets(Loss):
    stateful = True

    def __init__(self):
        super().__init__()
        self.register_buffer("average", torch.ones(()))
        self.hidden = torch.ones(())

    def forward(self, output, target):
        error = (output - target).square()
        self.average += 1
        self.hidden = self.hidden + 1
        return error * self.hidden


class NothingKept(Loss):
    stateful = True

    def forward(self, output, target):
        return (output - target).square()


class StartsAtZero(Remembers):
    def critic(self, real_logits):
        self.sums.lerp_(real_logits.detach().mean().expand(2), 0.01)
        return (real_logits - self.sums[0]).square()


class KeepsMaximum(Remembers):
    def critic(self, real_logits):
        self.sums.copy_(torch.maximum(self.sums, real_logits.detach().max().expand(2)))
        return (real_logits - self.sums[0]).square()


class SharesState(Remembers):
    """Its average is that of every instance."""

    average = torch.zeros(())

    def critic(self, real_logits):
        super().critic(real_logits)
        self.average.lerp_(real_logits.detach().mean(), 0.5)
        return (real_logits - self.average).square()


class HiddenPairs(Loss):
    def forward(self, real_features, fake_features):
        return (fake_features[0] - real_features[0].detach()).abs()


class NoPairs(FineGame):
    paired = True


class LeaksIntoImages(CriticLoss):
    uncompilable_reason = "it differentiates twice"

    def critic(self, fake_image, judge):
        return judge(fake_image)["logits"].square()


VIOLATIONS = [
    # A term refuses such a loss.
    (Scalar, {"shape and dtype", "half precision", "not square", "planes"}),
    (Double, {"shape and dtype"}),
    (SaysPixels, {"unit"}),
    (SaysBatch, {"unit"}),
    (NaiveLog, {"finite value"}),
    (Rounds, {"gradient"}),
    (CriticsOnly, {"gradient"}),
    # Where all inputs are 0, output equals target too.
    (Root, {"gradient at equality", "gradient at zero"}),
    (Contrast, {"gradient at zero"}),
    (Offset, {"distance"}),
    (Signed, {"non-negative"}),
    (PushesAway, {"minimum at the target"}),
    (Weighs, {"batch order"}),
    (Together, {"half batches"}),
    (Contiguous, {"channels last"}),
    (Precise, {"half precision"}),
    (Uncompilable, {"torch.compile"}),
    (OtherWhenCompiled, {"torch.compile"}),
    (Draws, {"deterministic"}),
    (Counts, {"deterministic"}),
    (Clamps, {"no in-place change"}),
    (Trains, {"parameters fixed"}),
    (Normalises, {"parameters fixed"}),
    (Forgets, {"state restored", "state at the start"}),
    (StartsAtZero, {"state at the start"}),
    (KeepsMaximum, {"state of parts"}),
    (HiddenPairs, {"pairs"}),
    (NoPairs, {"pairs"}),
    (NothingKept, {"state restored"}),
    (LeaksIntoImages, {"critic only"}),
]


def failures(results):
    return {name: verdict.why for name, verdict in results.items() if verdict.result == "failed"}


@pytest.mark.parametrize("component", [Fine, FineGame, FinePairs, Remembers], ids=lambda item: item.__name__)
def test_a_valid_loss_passes_every_rule(component, verdicts):
    results = verdicts(component, LOSS_RULES)
    assert not failures(results)
    assert sum(verdict.result == "passed" for verdict in results.values()) >= 10


@pytest.mark.parametrize(("component", "names"), VIOLATIONS, ids=lambda item: getattr(item, "__name__", ""))
def test_a_violation_is_reported_with_a_remedy(component, names, verdicts):
    reasons = failures(verdicts(component, LOSS_RULES))
    assert set(reasons) == names, reasons
    assert all(len(why) > 20 for why in reasons.values())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device is available")
def test_a_constant_left_on_the_cpu_fails_on_cuda(verdicts):
    assert set(failures(verdicts(OnTheCPU, LOSS_RULES))) == {"CUDA"}


def test_state_of_a_class_is_shared_among_scales(failure):
    # Other rules fail, too, because it is shared among all instances.
    assert "none in its class" in failure(SharesState, LOSS_RULES, "state of scales")


def test_every_rule_has_a_loss_that_violates_it():
    covered = {name for _, names in VIOLATIONS for name in names} | {"CUDA", "state of scales"}
    assert {rule.name for rule in LOSS_RULES} == covered


# ------------------------------------------------------------------ skipped rules


class Undeclared(Loss):
    per_image = False
    deterministic = False
    uncompilable_reason = "it calls a program"

    def forward(self, output):
        return output * torch.rand(len(output), 1, 1, 1)


def test_rules_on_undeclared_properties_are_skipped_with_a_reason(verdicts):
    results = verdicts(Undeclared, LOSS_RULES)
    skipped = {name: verdict.why for name, verdict in results.items() if verdict.result == "skipped"}
    assert skipped["torch.compile"] == "uncompilable_reason: it calls a program"
    assert "per_image = False" in skipped["half batches"]
    assert "deterministic = False" in skipped["deterministic"]
    assert "unit" in skipped
    assert "critic only" in skipped
    assert not failures(results)


class RequestsDepth(Loss):
    def forward(self, output, depth):
        return output * depth[:, None, 5:, 5:]


def test_a_name_of_unknown_meaning_fails_no_rule(verdicts):
    results = verdicts(RequestsDepth, LOSS_RULES)
    assert results["shape and dtype"].result == "skipped"
    assert "the meaning of depth is unknown" in results["shape and dtype"].why
    assert not failures(results)


class FineFlow(Loss):
    unit = "per pixel"
    non_negative = True

    def forward(self, flow, source_flow, source_visible):
        return (flow[:, 0] - source_flow).square() * source_visible


class NoGradientToFlow(Loss):
    def forward(self, flow, source_flow, source_visible):
        return (flow[:, 0].round() - source_flow).square() * source_visible


class LogOfMasks(Loss):
    def forward(self, masks):
        return masks.log()


class SquareFlow(Loss):
    unit = "per pixel"

    def forward(self, flow, source_flow):
        return (flow[:, 0] - source_flow)[..., :64, :64]


def test_losses_of_flows_are_tested_with_flows(verdicts, failure):
    assert not failures(verdicts(FineFlow, LOSS_RULES))
    assert "no gradient to flow" in failure(NoGradientToFlow, LOSS_RULES, "gradient")
    assert "masks is not finite" in failure(LogOfMasks, LOSS_RULES, "gradient at zero")
    assert "64 x 96" in failure(SquareFlow, LOSS_RULES, "not square")


# ------------------------------------------------------------------ samples


def test_samples_match_their_names():
    assert sample_input("output").shape == sample_input("fake_image").shape == (4, 3, 96, 96)
    assert float(sample_input("output").abs().max()) <= 1
    assert not torch.equal(sample_input("output"), sample_input("target"))
    assert not torch.equal(sample_input("output"), sample_input("output", 1))
    assert sample_input("identity_code").shape == (4, 12)
    assert sample_input("pose_logits").shape == (4, 5)
    assert sample_input("fake_logits").dim() == 4
    assert sample_input("target_regions").dtype == torch.int64
    assert set(sample_input("same_light").tolist()) == {0.0, 1.0}
    assert isinstance(sample_input("real_features"), tuple)
    assert sample_input("painted").shape == (4, 3, 96, 96)
    assert sample_input("flow").shape == (4, 3, 2, 96, 96)
    assert 2 < float(sample_input("flow").abs().max()) < 10
    assert sample_input("source_flow").shape == sample_input("partner_flow").shape == (4, 2, 96, 96)
    assert sample_input("source_visible").shape == (4, 1, 96, 96)
    assert set(sample_input("source_visible").flatten(1).unique().tolist()) == {0.0, 1.0}
    masks = sample_input("masks")
    assert masks.shape == (4, 4, 96, 96)
    torch.testing.assert_close(masks.sum(1), torch.ones(4, 96, 96))
    assert sample_input("anything").shape == (4,)
    assert sample_input("step") == 3


def test_unknown_names():
    def function(output, real_image, pose, pose_class, identity_code, step, judge, flow, partner_visible, depth): ...

    assert unknown_names(requested_arguments(function)) == ["depth"]
