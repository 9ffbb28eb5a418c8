"""Each rule for losses is broken, by its name, by the smallest loss that breaks it."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.functional import softplus

from enface import AdversarialLoss, CriticLoss, Loss
from enface_tools.conformance.losses import LOSS_RULES
from enface_tools.conformance.samples import asked, guessed, sample


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
        self.register_buffer("average", torch.zeros(()))

    def critic(self, real_logits):
        self.average.lerp_(real_logits.detach().mean(), 0.5)
        return (real_logits - self.average).square()


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
    def forward(self, real_logits, fake_logits):
        return softplus(real_logits - fake_logits.detach())

    def critic(self, real_logits, fake_logits):
        return softplus(fake_logits - real_logits)


class Root(Loss):
    def forward(self, output, target):
        return (output - target).square().sqrt()


class Contrast(Loss):
    def forward(self, output, target):
        apart = output.flatten(1).var(1).sqrt() - target.flatten(1).var(1).sqrt()
        return apart.square() + (output - target).square().flatten(1).mean(1)


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
    """The part of each number that bfloat16 does not have."""

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


class OnTheProcessor(Loss):
    def __init__(self):
        super().__init__()
        self.weights = torch.tensor([0.2, 0.5, 0.3]).view(1, 3, 1, 1)

    def forward(self, output, target):
        return (output - target).square() * self.weights


class Draws(Loss):
    def forward(self, output, target):
        # The same for all places, and so for every order of the batch.
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
    """Keeps running statistics, though it does not use them."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm2d(3)

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


class LeaksIntoImages(CriticLoss):
    uncompilable_reason = "it differentiates twice"

    def critic(self, fake_image, judge):
        return judge(fake_image)["logits"].square()


BROKEN = [
    # A term refuses such a loss.
    (Scalar, {"shape and dtype", "half precision"}),
    (Double, {"shape and dtype"}),
    (SaysPixels, {"unit"}),
    (SaysBatch, {"unit"}),
    (NaiveLog, {"finite value"}),
    (Rounds, {"gradient"}),
    (CriticsOnly, {"gradient"}),
    # Where all is zero, output equals target too.
    (Root, {"gradient at equality", "gradient at zero"}),
    (Contrast, {"gradient at zero"}),
    (Offset, {"distance"}),
    (Signed, {"non-negative"}),
    (PushesAway, {"least at the target"}),
    (Weighs, {"batch order"}),
    (Together, {"half batches"}),
    (Contiguous, {"channels last"}),
    (Precise, {"half precision"}),
    (Uncompilable, {"torch.compile"}),
    (OtherWhenCompiled, {"torch.compile"}),
    (Draws, {"deterministic"}),
    (Counts, {"deterministic"}),
    (Clamps, {"no in-place change"}),
    (Trains, {"nothing trained"}),
    (Normalises, {"nothing trained"}),
    (Forgets, {"state restored"}),
    (NothingKept, {"state restored"}),
    (LeaksIntoImages, {"critic only"}),
]


def broken_of(found):
    return {name: verdict.why for name, verdict in found.items() if verdict.result == "broken"}


@pytest.mark.parametrize("component", [Fine, FineGame, Remembers], ids=lambda item: item.__name__)
def test_a_loss_that_keeps_its_promises_breaks_no_rule(component, verdicts):
    found = verdicts(component, LOSS_RULES)
    assert not broken_of(found)
    assert sum(verdict.result == "holds" for verdict in found.values()) >= 10


@pytest.mark.parametrize(("component", "names"), BROKEN, ids=lambda item: getattr(item, "__name__", ""))
def test_a_broken_loss_breaks_its_rule_and_says_what_to_do(component, names, verdicts):
    found = broken_of(verdicts(component, LOSS_RULES))
    assert set(found) == names, found
    assert all(len(why) > 20 for why in found.values())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
def test_a_constant_left_on_the_processor_breaks_the_rule_on_cuda(verdicts):
    assert set(broken_of(verdicts(OnTheProcessor, LOSS_RULES))) == {"CUDA"}


def test_every_rule_has_a_loss_that_breaks_it():
    covered = {name for _, names in BROKEN for name in names} | {"CUDA"}
    assert {rule.name for rule in LOSS_RULES} == covered


# ------------------------------------------------------------------ what is not asked


class Claimless(Loss):
    per_image = False
    deterministic = False
    uncompilable_reason = "it calls a program"

    def forward(self, output):
        return output * torch.rand(len(output), 1, 1, 1)


def test_what_a_loss_does_not_claim_is_not_asked_and_the_reason_is_told(verdicts):
    found = verdicts(Claimless, LOSS_RULES)
    unasked = {name: verdict.why for name, verdict in found.items() if verdict.result == "not asked"}
    assert unasked["torch.compile"] == "uncompilable_reason: it calls a program"
    assert "per_image = False" in unasked["half batches"]
    assert "deterministic = False" in unasked["deterministic"]
    assert "unit" in unasked
    assert "critic only" in unasked
    assert not broken_of(found)


class AsksForDepth(Loss):
    def forward(self, output, depth):
        return output * depth[:, None, 5:, 5:]


def test_a_name_that_nothing_explains_breaks_no_rule(verdicts):
    found = verdicts(AsksForDepth, LOSS_RULES)
    assert found["shape and dtype"].result == "not asked"
    assert "what depth is" in found["shape and dtype"].why
    assert not broken_of(found)


# ------------------------------------------------------------------ samples


def test_samples_are_what_their_names_say():
    assert sample("output").shape == sample("fake_image").shape == (4, 3, 96, 96)
    assert float(sample("output").abs().max()) <= 1
    assert not torch.equal(sample("output"), sample("target"))
    assert not torch.equal(sample("output"), sample("output", 1))
    assert sample("identity_code").shape == (4, 12)
    assert sample("pose_logits").shape == (4, 5)
    assert sample("fake_logits").dim() == 4
    assert sample("target_regions").dtype == torch.int64
    assert set(sample("same_light").tolist()) == {0.0, 1.0}
    assert isinstance(sample("real_features"), tuple)
    assert sample("anything").shape == (4,)
    assert sample("step") == 3


def test_only_names_without_a_meaning_are_guessed():
    def function(output, real_image, pose, pose_class, identity_code, step, judge, depth): ...

    assert guessed(asked(function)) == ["depth"]
