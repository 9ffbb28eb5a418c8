"""Augmentations that break a rule each, and those that keep all."""

from __future__ import annotations

import random

import pytest
import torch

from enface import Augmentation
from enface_tools.conformance.augmentations import AUGMENTATION_RULES


class Brightness(Augmentation):
    def forward(self, image):
        return image + torch.rand(len(image), 1, 1, 1) - 0.5


class Adaptive(Brightness):
    adaptive = True

    def __init__(self):
        super().__init__()
        self.register_buffer("level", torch.tensor(0.5, dtype=torch.float64))

    def forward(self, image):
        return image + self.level.float() * torch.rand(len(image), 1, 1, 1)

    def observe(self, certainty):
        self.level += 0.05 if certainty > 0.6 else -0.05


class Cropped(Brightness):
    def forward(self, image):
        return super().forward(image)[..., 1:, 1:]


class Double(Brightness):
    def forward(self, image):
        return super().forward(image).double()


class Bytes(Brightness):
    def forward(self, image):
        return super().forward((image + 1) * 127.5)


class Frozen(Brightness):
    def forward(self, image):
        return image.clone()


class Fixed(Brightness):
    def forward(self, image):
        return image * 0.5


class Unseeded(Brightness):
    def forward(self, image):
        return image + random.SystemRandom().random()


class Cut(Brightness):
    def forward(self, image):
        return super().forward(image.detach())


class OneImage(Brightness):
    """Its first image alone is shown."""

    def forward(self, image):
        return super().forward(image[:1].expand_as(image))


class InPlace(Brightness):
    def forward(self, image):
        return image.add_(torch.rand(len(image), 1, 1, 1)) if not image.requires_grad else super().forward(image)


class Forgetful(Adaptive):
    """What it has noted is a plain number."""

    def __init__(self):
        super().__init__()
        self.noted = 0.0

    def forward(self, image):
        return image + (1 + self.noted) * torch.rand(len(image), 1, 1, 1)

    def observe(self, certainty):
        self.noted += 0.1 * certainty


class Deaf(Adaptive):
    def observe(self, certainty):
        pass


@pytest.mark.parametrize("augmentation", [Brightness, Adaptive])
def test_a_sound_augmentation_breaks_no_rule(verdicts, augmentation):
    found = verdicts(augmentation, AUGMENTATION_RULES)
    assert {name: item.why for name, item in found.items() if item.result == "broken"} == {}
    assert found["state restored"].result == ("holds" if augmentation is Adaptive else "not asked")


@pytest.mark.parametrize(
    ("augmentation", "rule", "words"),
    [
        (Cropped, "shape", "(4, 3, 31, 31)"),
        (Double, "shape", "torch.float64"),
        (Bytes, "range", "not 0 to 255"),
        (Frozen, "changes images", "what they were"),
        (Fixed, "changes images", "other draws"),
        (Unseeded, "same draws, same images", "the same seed"),
        (Cut, "gradient", "no gradient"),
        (OneImage, "gradient", "each image"),
        (InPlace, "no in-place change", "the images in place"),
        (Forgetful, "state restored", "keep it in buffers"),
        (Deaf, "state restored", "changes nothing"),
    ],
)
def test_an_augmentation_that_breaks_a_rule_is_told_so(broken, augmentation, rule, words):
    assert words in broken(augmentation, AUGMENTATION_RULES, rule)
