"""DiffAugment: each change, and the strength."""

from __future__ import annotations

import pytest
import torch

from enface_plugins.augmentations.diff_augment import DiffAugment


def test_strength_0_changes_nothing():
    image = torch.rand(4, 3, 16, 16)
    assert torch.equal(DiffAugment(strength=0.0)(image), image)


def test_a_share_of_the_images_is_changed():
    torch.manual_seed(0)
    image = torch.rand(400, 3, 4, 4)
    changed = (DiffAugment(policy=("color",), strength=0.3)(image) != image).flatten(1).any(1)
    assert 0.2 < float(changed.float().mean()) < 0.4


def test_translation_moves_whole_pixels_and_pads_with_zeros():
    torch.manual_seed(0)
    image = torch.ones(64, 1, 16, 16)
    moved = DiffAugment(policy=("translation",))(image)
    assert set(moved.unique().tolist()) == {0.0, 1.0}
    lost = (moved == 0).any(3).sum((1, 2))
    assert int(lost[lost < 16].max()) <= 2, "an eighth of the side"


def test_cutout_removes_at_most_a_quarter():
    torch.manual_seed(0)
    share = (DiffAugment(policy=("cutout",))(torch.ones(64, 1, 16, 16)) == 0).float().mean((1, 2, 3))
    assert float(share.min()) > 0
    assert float(share.max()) == pytest.approx(0.25, abs=0.04)


def test_the_strength_follows_the_critics_certainty():
    augmentation = DiffAugment(strength=0.5, target=0.6, reach=10)
    assert augmentation.adaptive
    augmentation.observe(0.9)
    assert float(augmentation.level) == pytest.approx(0.6)
    for _ in range(20):
        augmentation.observe(0.1)
    assert float(augmentation.level) == 0
    assert "level" in augmentation.state_dict()
