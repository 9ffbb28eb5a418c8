"""Patch discriminators at several scales: shapes, receptive fields, image sizes."""

from __future__ import annotations

import pytest
import torch

from enface import DataInfo, RecipeError
from enface_plugins.discriminators.multi_scale import MultiScale
from enface_plugins.discriminators.patch_gan import PatchGAN
from enface_plugins.losses.hinge import Hinge


@pytest.mark.parametrize(("size", "sides"), [(96, [10, 4, 1]), (101, [10, 4, 1]), (128, [14, 6, 2])])
def test_each_scale_has_the_shapes_of_a_patch_discriminator_on_half_the_size(size, sides):
    output = MultiScale(scales=3, width=4, data=DataInfo.square(size))(torch.randn(2, 3, size, size))
    assert [tuple(item.shape) for item in output["logits"]] == [(2, 1, side, side) for side in sides]
    expected = []
    for half in (size, -(-size // 2), -(-size // 4)):
        expected += [
            item.shape
            for item in PatchGAN(width=4, data=DataInfo.square(half))(torch.randn(2, 3, half, half))["features"]
        ]
    assert [item.shape for item in output["features"]] == expected


def test_receptive_fields():
    critic = MultiScale(scales=3, width=4, layers=1, norm="none", data=DataInfo.square(128)).double()
    for scale, field in enumerate((16, 33, 67)):
        image = torch.randn(1, 3, 128, 128, dtype=torch.float64, requires_grad=True)
        logits = critic(image)["logits"][scale]
        middle = logits.shape[-1] // 2
        logits[0, 0, middle, middle].backward()
        seen = image.grad.abs().sum((0, 1)) > 0
        assert seen.any(0).sum() == seen.any(1).sum() == field


def test_halving_does_not_darken_the_border():
    torch.manual_seed(0)
    critic = MultiScale(scales=2, width=4, layers=1, norm="none", data=DataInfo.square(32))
    even = torch.full((1, 3, 32, 32), 0.7)
    alone = critic.scales[1](torch.full((1, 3, 16, 16), 0.7))["logits"]
    torch.testing.assert_close(critic(even)["logits"][1], alone)


def test_each_scale_has_its_own_weights():
    critic = MultiScale(scales=2, width=4, data=DataInfo.square(64))
    first, second = (dict(scale.named_parameters()) for scale in critic.scales)
    assert first.keys() == second.keys()
    assert not any(torch.equal(first[name], second[name]) for name in first if name.endswith("0.weight"))


@pytest.mark.parametrize(
    ("params", "size", "message"),
    [
        ({"scales": 3}, 92, "at least 93 px, these have 92; use scales: 2, layers: 2, or larger images"),
        ({"scales": 2, "layers": 4}, 48, "at least 95 px, these have 48; use scales: 1, layers: 3, or larger images"),
        ({"scales": 1, "layers": 1}, 5, "at least 6 px, these have 5; use larger images"),
    ],
)
def test_too_small_images_are_an_error_that_names_what_fits(params, size, message):
    with pytest.raises(RecipeError, match=message):
        MultiScale(width=4, **params, data=DataInfo.square(size))


@pytest.mark.parametrize(("scales", "layers"), [(1, 1), (2, 2), (3, 3), (4, 1)])
def test_the_smallest_image_leaves_a_logit_at_every_scale(scales, layers):
    smallest = (3 * 2**layers - 1) * 2 ** (scales - 1) + 1
    with pytest.raises(RecipeError, match=f"at least {smallest} px"):
        MultiScale(width=2, scales=scales, layers=layers, data=DataInfo.square(smallest - 1))
    critic = MultiScale(width=2, scales=scales, layers=layers, data=DataInfo.square(smallest))
    assert critic(torch.randn(1, 3, smallest, smallest))["logits"][-1].shape == (1, 1, 1, 1)


def test_a_term_averages_the_loss_over_the_scales():
    from enface import Constant
    from enface.training.terms import Term

    torch.manual_seed(0)
    critic = MultiScale(scales=2, width=4, data=DataInfo.square(64))
    logits = critic(torch.randn(2, 3, 64, 64))["logits"]
    term = Term("gan", Hinge().forward, {"fake_logits": "fake_logits"}, Constant(value=1.0), against="scales")
    loss = term({"fake_logits": logits})
    torch.testing.assert_close(loss, (-logits[0].mean() - logits[1].mean()) / 2)
