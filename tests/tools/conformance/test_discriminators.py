"""Discriminators that break a rule each, and those that keep all."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from enface import DataInfo, Discriminator, EnfaceError, WeightsError
from enface_tools.conformance.discriminators import DISCRIMINATOR_RULES


class Small(Discriminator):
    """Two convolutions, the second judges."""

    def __init__(self):
        super().__init__()
        self.first, self.judge = nn.Conv2d(3, 4, 4, 4), nn.Conv2d(4, 1, 4, 4)

    def forward(self, image):
        return self.verdict(nn.functional.leaky_relu(self.first(image), 0.2))

    def verdict(self, features):
        return {"logits": self.judge(features), "features": (features,)}


class Conditional(Small):
    """Sees the source too, at two scales, and tells poses apart."""

    provides = ("logits", "features", "pose_logits")

    def __init__(self, *, data: DataInfo):
        super().__init__()
        self.pose = nn.Linear(4, data.classes["pose"])

    def forward(self, image, source, pose_class):
        found = super().forward(image - source)
        pose = self.pose(found["features"][0].mean((2, 3)) + pose_class[:, None])
        return {**found, "logits": (found["logits"], found["logits"] / 2), "pose_logits": pose}


class NothingToLearn(Small):
    """With a part that does not learn."""

    def __init__(self):
        super().__init__()
        self.first.requires_grad_(False)


class Choosy(Small):
    def __init__(self, *, data: DataInfo):
        super().__init__()
        if data.size != 96:
            raise EnfaceError(f"choosy judges 96 px only, not {data.size}")


class Silent(Small):
    def forward(self, image):
        return {"logits": super().forward(image)["logits"]}


class Listed(Small):
    def forward(self, image):
        return {**super().forward(image), "features": [image]}


class BatchLast(Small):
    def forward(self, image):
        found = super().forward(image)
        return {**found, "logits": found["logits"].transpose(0, 1)}


class NotANumber(Small):
    def forward(self, image):
        return self.verdict((self.first(image) - 100).sqrt())


class Cut(Small):
    def forward(self, image):
        return super().forward(image.detach())


class OnlyTheFirst(Small):
    def forward(self, image):
        return super().forward(image[:1].expand_as(image))


class Steep(Small):
    """The square root's slope at 0 is infinite."""

    def forward(self, image):
        return super().forward((image - image).sqrt() + image)


class Unused(Small):
    def __init__(self):
        super().__init__()
        self.spare = nn.Linear(2, 2)


class Frozen(Small):
    def __init__(self):
        super().__init__()
        self.requires_grad_(False)


class Leaking(Small):
    """It teaches a tensor that is none of its weights."""

    def __init__(self):
        super().__init__()
        self.hidden = [torch.ones((), requires_grad=True)]

    def forward(self, image):
        return super().forward(image * self.hidden[0])


class Thawing(Frozen):
    def forward(self, image):
        self.first.requires_grad_(True)
        return super().forward(image)


class NeverFrozen(Small):
    def forward(self, image):
        self.judge.requires_grad_(True)
        return super().forward(image)


class InPlace(Small):
    def forward(self, image):
        with torch.no_grad():
            image.clamp_(-0.5, 0.5)
        return super().forward(image)


class BatchSpread(Small):
    def forward(self, image):
        return super().forward(image / image.std(0, keepdim=True).mean())


class Ranked(Small):
    def forward(self, image):
        return super().forward(image + torch.arange(len(image)).view(-1, 1, 1, 1))


class Restless(Small):
    def __init__(self):
        super().__init__()
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, image):
        self.seen += 1
        return super().forward(image)


class Noisy(Small):
    def forward(self, image):
        return super().forward(image + torch.rand(()))


class SelfTaught(Small):
    """It changes a weight by itself, in training."""

    def forward(self, image):
        if self.training:
            with torch.no_grad():
                self.judge.weight.mul_(0.9)
        return super().forward(image)


class Forgetful(Small):
    """What it has learnt of brightness is a plain attribute."""

    def __init__(self):
        super().__init__()
        self.mean = torch.zeros(())

    def forward(self, image):
        if self.training:
            self.mean = self.mean + image.detach().mean() + 1
        return super().forward(image - self.mean)


class Strided(Small):
    """It looks at the memory as if it were contiguous."""

    def forward(self, image):
        flat = image.as_strided((image.numel(),), (1,)).view(len(image), -1)
        return super().forward(image * flat[:, :96].mean(1).view(-1, 1, 1, 1))


class Coarse(Small):
    """It subtracts large numbers, of which bf16 keeps two digits."""

    def verdict(self, features):
        return super().verdict(features + 1000 - 1000)


class Once(Small):
    """Its gradient is written by hand, for one derivative."""

    class Double(torch.autograd.Function):
        @staticmethod
        def forward(context, image):
            return image * 2

        @staticmethod
        @torch.autograd.function.once_differentiable
        def backward(context, gradient):
            return gradient * 2

    def forward(self, image):
        return super().forward(self.Double.apply(image))


class Excused(Once):
    """Says so."""

    once_differentiable_reason = "its gradient is written by hand"
    uncompilable_reason = "its gradient is written by hand"


class Detached(Small):
    """Its logits' slope into the image is none of its weights' doing."""

    def forward(self, image):
        found = super().forward(image.detach())
        return {**found, "logits": found["logits"].mean((1, 2, 3)).detach() + image.mean((1, 2, 3))}


class Uncompilable(Small):
    def forward(self, image):
        if torch.compiler.is_compiling():
            image = image * 2
        return super().forward(image)


class Uncompiled(Uncompilable):
    uncompilable_reason = "it is not meant to be"


class OneSize(Small):
    def __init__(self):
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(96, 96))

    def forward(self, image):
        return super().forward(image + self.bias)


class Curt(Small):
    def __init__(self, *, data: DataInfo):
        super().__init__()
        if data.size != 96:
            raise EnfaceError("no")


class Downloaded(Small):
    def __init__(self):
        super().__init__()
        raise WeightsError("weights are missing")


@pytest.mark.parametrize("critic", [Small, Conditional, Frozen, Choosy])
def test_a_sound_discriminator_breaks_no_rule(verdicts, critic):
    found = verdicts(critic, DISCRIMINATOR_RULES)
    assert {name: item.why for name, item in found.items() if item.result == "broken"} == {}
    assert {name for name, item in found.items() if item.result == "not asked"} <= {"CUDA"}


@pytest.mark.parametrize(
    ("critic", "rule", "words"),
    [
        (Silent, "provides", "it returns ['logits']"),
        (Listed, "provides", "tuple of tensors"),
        (BatchLast, "logits", "the batch comes first"),
        (NotANumber, "logits", "not finite"),
        (Cut, "teaches the generator", "no gradient into the image"),
        (OnlyTheFirst, "teaches the generator", "no gradient into the image"),
        (Steep, "teaches the generator", "not finite"),
        (Unused, "learns", "spare.weight"),
        (NothingToLearn, "learns", "no weight that learns"),
        (Leaking, "gradient only into the critic", "none of its weights"),
        (Thawing, "gradient only into the critic", "built with as frozen"),
        (NeverFrozen, "gradient only into the critic", "in the generator's phase"),
        (Once, "differentiable twice", "once_differentiable_reason"),
        (Detached, "differentiable twice", "none of its weights"),
        (OneSize, "sizes", "raises RuntimeError"),
        (Curt, "sizes", "does not name that size"),
        (InPlace, "no in-place change", "image in place"),
        (BatchSpread, "each image by itself", "alone"),
        (Ranked, "each image by itself", "another order"),
        (Restless, "nothing moves at rest", "a pass changes seen"),
        (Noisy, "nothing moves at rest", "second time"),
        (SelfTaught, "nothing moves at rest", "judge.weight"),
        (Forgetful, "state restored", "plain attribute"),
        (Strided, "channels_last", "other numbers"),
        (Coarse, "half precision", "bf16 autocast"),
        (Uncompilable, "torch.compile", "compiled it gives other numbers"),
    ],
)
def test_a_discriminator_that_breaks_a_rule_is_told_so(broken, critic, rule, words):
    assert words in broken(critic, DISCRIMINATOR_RULES, rule)


@pytest.mark.parametrize(
    ("critic", "rule", "words"),
    [
        (Downloaded, "sizes", "weights are missing"),
        (Excused, "differentiable twice", "its gradient is written by hand"),
        (Uncompiled, "torch.compile", "it is not meant to be"),
    ],
)
def test_a_reason_given_by_the_class_excuses_it(verdicts, critic, rule, words):
    (found,) = verdicts(critic, DISCRIMINATOR_RULES, only=rule).values()
    assert found.result == "not asked"
    assert words in found.why
