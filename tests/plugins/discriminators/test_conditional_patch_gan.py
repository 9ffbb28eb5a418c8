"""The conditional patch discriminator: its shapes and its dependence on the source."""

from __future__ import annotations

import pytest
import torch

from enface import DataInfo, RecipeError
from enface_plugins.discriminators.conditional_patch_gan import ConditionalPatchGAN
from enface_plugins.discriminators.patch_gan import PatchGAN


@pytest.mark.parametrize("size", [32, 64, 96])
def test_its_shapes_are_those_of_the_patch_discriminator(size):
    data = DataInfo.square(size)
    image, source = torch.randn(2, 2, 3, size, size)
    output, plain = ConditionalPatchGAN(width=4, data=data)(image, source), PatchGAN(width=4, data=data)(image)
    assert output["logits"].shape == plain["logits"].shape
    assert [item.shape for item in output["features"]] == [item.shape for item in plain["features"]]


@pytest.mark.parametrize(("layers", "field"), [(1, 16), (2, 34), (3, 70)])
def test_a_logit_sees_the_same_patch_of_source_and_image(layers, field):
    critic = ConditionalPatchGAN(width=4, layers=layers, norm="none", data=DataInfo.square(128)).double()
    image, source = torch.randn(2, 1, 3, 128, 128, dtype=torch.float64).requires_grad_().unbind()
    image.retain_grad()
    source.retain_grad()
    logits = critic(image, source)["logits"]
    middle = logits.shape[-1] // 2
    logits[0, 0, middle, middle].backward()
    of_image, of_source = (item.grad.abs().sum((0, 1)) > 0 for item in (image, source))
    assert torch.equal(of_image, of_source)
    assert of_image.any(0).sum() == of_image.any(1).sum() == field


def test_the_logits_depend_on_the_source_and_on_the_order():
    torch.manual_seed(0)
    critic = ConditionalPatchGAN(width=4, data=DataInfo.square(32))
    image, source, other = torch.randn(3, 1, 3, 32, 32)
    logits = critic(image, source)["logits"]
    assert not torch.allclose(critic(image, other)["logits"], logits, rtol=1e-2)
    assert not torch.allclose(critic(source, image)["logits"], logits, rtol=1e-2)


def test_too_small_images_are_an_error_with_its_own_name():
    with pytest.raises(RecipeError, match=r"conditional_patch_gan .* at least 48 px, these have 32; use layers: 3"):
        ConditionalPatchGAN(layers=4, data=DataInfo.square(32))
