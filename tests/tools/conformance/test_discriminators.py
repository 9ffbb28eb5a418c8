"""Discriminators that violate one rule each, and some that violate none."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from enface import DataInfo, Discriminator, EnfaceError, WeightsError
from enface_tools.conformance.discriminators import DISCRIMINATOR_RULES


class Small(Discriminator):
    """Two convolutions; the second gives the logits."""

    def __init__(self, *, data: DataInfo):
        super().__init__()
        self.first, self.last = nn.Conv2d(data.channels["target"], 4, 4, 4), nn.Conv2d(4, 1, 4, 4)

    def forward(self, image):
        return self.outputs(nn.functional.leaky_relu(self.first(image), 0.2))

    def outputs(self, features):
        return {"logits": self.last(features), "features": (features,)}


class Conditional(Small):
    """Gets the source too, gives two scales, and classifies poses."""

    provides = ("logits", "features", "pose_logits")

    def __init__(self, *, data: DataInfo):
        super().__init__(data=data)
        self.logit_scales = 2
        self.pose = nn.Linear(4, data.classes["pose"])

    def forward(self, image, source, pose_class):
        outputs = super().forward(image - source)
        pose = self.pose(outputs["features"][0].mean((2, 3)) + pose_class[:, None])
        return {**outputs, "logits": (outputs["logits"], outputs["logits"] / 2), "pose_logits": pose}


class PartlyFrozen(Small):
    """Has a frozen layer."""

    def __init__(self, *, data: DataInfo):
        super().__init__(data=data)
        self.first.requires_grad_(False)


class Choosy(Small):
    def __init__(self, *, data: DataInfo):
        super().__init__(data=data)
        if data.size != (96, 96):
            raise EnfaceError(f"choosy takes 96 px only, not {data.size}")


class Silent(Small):
    def forward(self, image):
        return {"logits": super().forward(image)["logits"]}


class Listed(Small):
    def forward(self, image):
        return {**super().forward(image), "features": [image]}


class HidesScales(Small):
    def forward(self, image):
        outputs = super().forward(image)
        return {**outputs, "logits": (outputs["logits"], outputs["logits"] / 2)}


class BatchLast(Small):
    def forward(self, image):
        outputs = super().forward(image)
        return {**outputs, "logits": outputs["logits"].transpose(0, 1)}


class NotANumber(Small):
    def forward(self, image):
        return self.outputs((self.first(image) - 100).sqrt())


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
    def __init__(self, *, data: DataInfo):
        super().__init__(data=data)
        self.spare = nn.Linear(2, 2)


class Frozen(Small):
    def __init__(self, *, data: DataInfo):
        super().__init__(data=data)
        self.requires_grad_(False)


class Leaking(Small):
    """Trains a tensor that is not one of its weights."""

    def __init__(self, *, data: DataInfo):
        super().__init__(data=data)
        self.hidden = [torch.ones((), requires_grad=True)]

    def forward(self, image):
        return super().forward(image * self.hidden[0])


class Thawing(PartlyFrozen):
    def forward(self, image):
        self.first.requires_grad_(True)
        return super().forward(image)


class NeverFrozen(Small):
    def forward(self, image):
        self.last.requires_grad_(True)
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
    def __init__(self, *, data: DataInfo):
        super().__init__(data=data)
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, image):
        self.seen += 1
        return super().forward(image)


class Noisy(Small):
    def forward(self, image):
        return super().forward(image + torch.rand(()))


class SelfTaught(Small):
    """Changes a weight in its forward pass, in training mode."""

    def forward(self, image):
        if self.training:
            with torch.no_grad():
                self.last.weight.mul_(0.9)
        return super().forward(image)


class Forgetful(Small):
    """Keeps the mean brightness in a plain attribute."""

    def __init__(self, *, data: DataInfo):
        super().__init__(data=data)
        self.mean = torch.zeros(())

    def forward(self, image):
        if self.training:
            self.mean = self.mean + image.detach().mean() + 1
        return super().forward(image - self.mean)


class Strided(Small):
    """Reads the memory as if it were contiguous."""

    def forward(self, image):
        flat = image.as_strided((image.numel(),), (1,)).view(len(image), -1)
        return super().forward(image * flat[:, :96].mean(1).view(-1, 1, 1, 1))


class Coarse(Small):
    """Subtracts large numbers, of which bf16 keeps two digits."""

    def outputs(self, features):
        return super().outputs(features + 1000 - 1000)


class Once(Small):
    """Has a handwritten gradient, for the first derivative only."""

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
    """Declares the limitation."""

    once_differentiable_reason = "its gradient is handwritten"
    uncompilable_reason = "its gradient is handwritten"


class Detached(Small):
    """The gradient of its logits into the image does not depend on its weights."""

    def forward(self, image):
        outputs = super().forward(image.detach())
        return {**outputs, "logits": outputs["logits"].mean((1, 2, 3)).detach() + image.mean((1, 2, 3))}


class Uncompilable(Small):
    def forward(self, image):
        if torch.compiler.is_compiling():
            image = image * 2
        return super().forward(image)


class Uncompiled(Uncompilable):
    uncompilable_reason = "it is not meant to be"


class OneSize(Small):
    def __init__(self, *, data: DataInfo):
        super().__init__(data=data)
        self.bias = nn.Parameter(torch.zeros(96, 96))

    def forward(self, image):
        return super().forward(image + self.bias)


class Curt(Small):
    def __init__(self, *, data: DataInfo):
        super().__init__(data=data)
        if data.shorter_side != 96:
            raise EnfaceError("no")


class Downloaded(Small):
    def __init__(self, *, data: DataInfo):
        super().__init__(data=data)
        raise WeightsError("weights are missing")


@pytest.mark.parametrize("critic", [Small, Conditional, PartlyFrozen, Choosy])
def test_a_valid_discriminator_passes_every_rule(verdicts, critic):
    results = verdicts(critic, DISCRIMINATOR_RULES)
    assert {name: item.why for name, item in results.items() if item.result == "failed"} == {}
    assert {name for name, item in results.items() if item.result == "skipped"} <= {"CUDA"}


@pytest.mark.parametrize(
    ("critic", "rule", "reason"),
    [
        (Silent, "provides", "it returns ['logits']"),
        (Listed, "provides", "tuple of tensors"),
        (HidesScales, "logits", "set self.logit_scales"),
        (BatchLast, "logits", "the batch comes first"),
        (NotANumber, "logits", "not finite"),
        (Cut, "gradient for the generator", "no gradient into the image"),
        (OnlyTheFirst, "gradient for the generator", "no gradient into the image"),
        (Steep, "gradient for the generator", "not finite"),
        (Unused, "learns", "spare.weight"),
        (Frozen, "learns", "no trainable weight"),
        (Leaking, "gradient stays in the critic", "not one of its weights"),
        (Thawing, "gradient stays in the critic", "frozen when it was built"),
        (NeverFrozen, "gradient stays in the critic", "in the generator's phase"),
        (Once, "differentiable twice", "marked with @once_differentiable"),
        (Detached, "differentiable twice", "none of its weights"),
        (OneSize, "sizes", "raises RuntimeError"),
        (Curt, "sizes", "does not name that size"),
        (InPlace, "no in-place change", "image in place"),
        (BatchSpread, "independent of the batch", "alone"),
        (Ranked, "independent of the batch", "another order"),
        (Restless, "unchanged by a forward pass", "a forward pass changes seen"),
        (Noisy, "unchanged by a forward pass", "second time"),
        (SelfTaught, "unchanged by a forward pass", "last.weight"),
        (Forgetful, "state restored", "plain attribute"),
        (Strided, "channels_last", "other numbers"),
        (Coarse, "half precision", "bf16 autocast"),
        (Uncompilable, "torch.compile", "compiled it gives other numbers"),
    ],
)
def test_a_violation_is_reported_with_its_reason(failure, critic, rule, reason):
    assert reason in failure(critic, DISCRIMINATOR_RULES, rule)


@pytest.mark.parametrize(
    ("critic", "rule", "reason"),
    [
        (Downloaded, "sizes", "weights are missing"),
        (Excused, "differentiable twice", "its gradient is handwritten"),
        (Uncompiled, "torch.compile", "it is not meant to be"),
    ],
)
def test_a_declared_limitation_skips_the_rule(verdicts, critic, rule, reason):
    (verdict,) = verdicts(critic, DISCRIMINATOR_RULES, only=rule).values()
    assert verdict.result == "skipped"
    assert reason in verdict.why
