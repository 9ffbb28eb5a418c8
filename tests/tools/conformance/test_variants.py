"""Components that fail for images of another shape or of other planes, and refusals that name the number or do not."""

from __future__ import annotations

import re

import pytest
import torch
from torch import nn

from enface import Augmentation, DataInfo, Discriminator, Generator, Loss, Mask, Metric, RecipeError
from enface_tools.conformance.augmentations import AUGMENTATION_RULES
from enface_tools.conformance.discriminators import DISCRIMINATOR_RULES
from enface_tools.conformance.generators import GENERATOR_RULES
from enface_tools.conformance.losses import LOSS_RULES
from enface_tools.conformance.masks import MASK_RULES
from enface_tools.conformance.metrics import METRIC_RULES


class FixedPlanes(Generator):
    def __init__(self, *, data: DataInfo):
        super().__init__()
        self.layer = nn.Conv2d(3, 3, 1)

    def forward(self, wants, source):
        return {"output": self.layer(source).tanh()}


class SourcePlanes(Generator):
    def __init__(self, *, data: DataInfo):
        super().__init__()
        planes = data.channels["source"]
        self.layer = nn.Conv2d(planes, planes, 1)

    def forward(self, wants, source):
        return {"output": self.layer(source).tanh()}


class AnyPlanes(Generator):
    multiple = 1

    def __init__(self, *, data: DataInfo):
        super().__init__()
        self.layer = nn.Conv2d(data.channels["source"], data.channels["target"], 1)

    def forward(self, wants, source):
        return {"output": self.layer(source).tanh()}


class Transposes(AnyPlanes):
    def forward(self, wants, source):
        return {"output": super().forward(wants, source)["output"].mT}


class OneSize(AnyPlanes):
    def forward(self, wants, source):
        return {"output": super().forward(wants, source)["output"][..., :96, :96]}


class Overflows(Discriminator):
    provides = ("logits",)

    def __init__(self, *, data: DataInfo):
        super().__init__()
        self.layer = nn.Linear(data.channels["target"] * data.shorter_side**2, 1)

    def forward(self, image):
        return {"logits": self.layer(image.flatten(1))[:, 0]}


class Rolls(Augmentation):
    def forward(self, image):
        return image.transpose(-1, -2).roll(int(torch.randint(8, ())), -1)


class Rgb(Loss):
    distance = True

    def __init__(self, *, data: DataInfo, refusal: str):
        super().__init__()
        if data.channels["target"] != 3 and refusal:
            raise RecipeError(refusal.format(data.channels["target"]))
        self.register_buffer("weights", torch.tensor([0.3, 0.6, 0.1]).view(3, 1, 1))

    def forward(self, output, target):
        return ((output - target).abs() * self.weights).sum(1, keepdim=True)


class OneSide(Mask):
    def __init__(self, *, data: DataInfo):
        super().__init__()
        self.side = data.shorter_side

    def forward(self, step: int):
        return torch.ones(1, 1, self.side, self.side)


class Rows(Metric):
    higher_is_better = False

    def forward(self, output, target):
        return (output - target).abs().mean((1, 3)).sum(1) / output.shape[2]

    def regional(self, output, target, weights):
        return self(output, target)[:, None] * output.shape[3] / output.shape[2]


@pytest.mark.parametrize(
    ("component", "rules", "name", "message"),
    [
        (FixedPlanes, GENERATOR_RULES, "planes", "images of 1 plane it raises RuntimeError"),
        (SourcePlanes, GENERATOR_RULES, "planes", "1 plane in the source and 3 planes in the target the output is"),
        (Transposes, GENERATOR_RULES, "not square", r"64 x 96 px the output is \(4, 3, 96, 64\), not \(4, 3, 64, 96\)"),
        (OneSize, GENERATOR_RULES, "multiple", r"multiple is 1, but for images of 96 x 97 px"),
        (Overflows, DISCRIMINATOR_RULES, "not square", "images of 64 x 96 px it raises RuntimeError"),
        (Rolls, AUGMENTATION_RULES, "not square", r"64 x 96 px it gives \(4, 3, 96, 64\)"),
        (OneSide, MASK_RULES, "not square", r"its weights are \(1, 1, 64, 64\)"),
        (Rows, METRIC_RULES, "not square", "a region that is the whole image has another number"),
    ],
)
def test_a_component_that_does_not_fit_other_images_fails(failure, component, rules, name, message):
    why = failure(component, rules, name)
    assert re.search(message, why), why


def test_a_refusal_names_the_number(failure, verdicts):
    assert "it refuses images of 1 plane, but the error does not say so" in failure(
        Rgb, LOSS_RULES, "planes", refusal="RGB only"
    )
    assert "images of 4 planes it raises RuntimeError" in failure(Rgb, LOSS_RULES, "planes", refusal="")
    assert verdicts(Rgb, LOSS_RULES, "planes", refusal="RGB only, not {} planes")["planes"].result == "passed"


def test_components_that_fit_pass(verdicts):
    for name in ("planes", "not square", "multiple"):
        assert verdicts(AnyPlanes, GENERATOR_RULES, name)[name].result == "passed"
    assert verdicts(SourcePlanes, GENERATOR_RULES, "multiple")["multiple"].result == "skipped"
