"""Augmentations that violate one rule each, and some that violate none."""

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
    """Shows only the first image."""

    def forward(self, image):
        return super().forward(image[:1].expand_as(image))


class InPlace(Brightness):
    def forward(self, image):
        return image.add_(torch.rand(len(image), 1, 1, 1)) if not image.requires_grad else super().forward(image)


class Forgetful(Adaptive):
    """Keeps its state in a plain number."""

    def __init__(self):
        super().__init__()
        self.state = 0.0

    def forward(self, image):
        return image + (1 + self.state) * torch.rand(len(image), 1, 1, 1)

    def observe(self, certainty):
        self.state += 0.1 * certainty


class Deaf(Adaptive):
    def observe(self, certainty):
        pass


class Rejects(Brightness):
    """Draws again for an image that is not black."""

    def forward(self, image):
        return super().forward(image + torch.rand(()) if bool(image.any()) else image)


class Ramps(Adaptive):
    """Grows stronger at each call."""

    def forward(self, image):
        self.level += 0.01
        return super().forward(image)


@pytest.mark.parametrize("augmentation", [Brightness, Adaptive])
def test_a_valid_augmentation_passes_every_rule(verdicts, augmentation):
    results = verdicts(augmentation, AUGMENTATION_RULES)
    assert {name: item.why for name, item in results.items() if item.result == "failed"} == {}
    assert results["state restored"].result == ("passed" if augmentation is Adaptive else "skipped")


@pytest.mark.parametrize(
    ("augmentation", "rule", "reason"),
    [
        (Cropped, "shape", "(4, 3, 31, 31)"),
        (Double, "shape", "torch.float64"),
        (Bytes, "range", "not 0 to 255"),
        (Frozen, "changes images", "unchanged"),
        (Fixed, "changes images", "other random numbers"),
        (Unseeded, "same seed, same images", "the same seed"),
        (Rejects, "same draw for a pair", "depends on the image"),
        (Ramps, "same draw for a pair", "changes its state"),
        (Cut, "gradient", "no gradient"),
        (OneImage, "gradient", "each image"),
        (InPlace, "no in-place change", "the images in place"),
        (Forgetful, "state restored", "keep it in buffers"),
        (Deaf, "state restored", "changes nothing"),
    ],
)
def test_a_violation_is_reported_with_its_reason(failure, augmentation, rule, reason):
    assert reason in failure(augmentation, AUGMENTATION_RULES, rule)
