"""The U-Net discriminator: a logit for every pixel, its receptive field, spectral norm, sizes."""

from __future__ import annotations

import pytest
import torch
from torch.nn.utils import parametrize

from enface import DataInfo, RecipeError
from enface_plugins.discriminators.unet_gan import UnetGAN


@pytest.mark.parametrize(("size", "levels"), [(32, 1), (48, 4), (96, 3), (72, 2)])
def test_there_is_a_logit_for_every_pixel(size, levels):
    output = UnetGAN(width=2, levels=levels, data=DataInfo.square(size))(torch.randn(2, 3, size, size))
    assert output["logits"].shape == (2, 1, size, size)
    steps = [*range(levels + 1), *reversed(range(levels))]
    assert [tuple(item.shape[1:]) for item in output["features"]] == [
        (2 * 2**step, size // 2**step, size // 2**step) for step in steps
    ]


@pytest.mark.parametrize(("levels", "least", "most"), [(1, 16, 16), (2, 28, 32), (3, 56, 64)])
def test_receptive_field(levels, least, most):
    critic = UnetGAN(width=2, levels=levels, data=DataInfo.square(128)).double().eval()
    fields = set()
    for place in range(60, 60 + 2**levels):
        image = torch.randn(1, 3, 128, 128, dtype=torch.float64, requires_grad=True)
        critic(image)["logits"][0, 0, place, place].backward()
        seen = image.grad.abs().sum((0, 1)) > 0
        assert seen[place, place]
        fields |= {int(seen.any(0).sum()), int(seen.any(1).sum())}
    assert (min(fields), max(fields)) == (least, most)


def test_it_can_locate_the_wrong_half_of_an_image():
    """The paper's point: unlike those of patches, its logits are as sharp as the image."""
    torch.manual_seed(0)
    critic = UnetGAN(width=8, levels=2, data=DataInfo.square(32))
    optimizer = torch.optim.Adam(critic.parameters(), lr=2e-3)
    wrong = torch.zeros(8, 1, 32, 32)
    wrong[..., 16:] = 1
    for _ in range(60):
        smooth = torch.nn.functional.interpolate(torch.randn(8, 3, 4, 4), size=32, mode="bilinear")
        image = torch.where(wrong.bool(), torch.randn(8, 3, 32, 32), smooth)
        logits = critic(image)["logits"]
        optimizer.zero_grad()
        torch.nn.functional.binary_cross_entropy_with_logits(logits, wrong).backward()
        optimizer.step()
    # Column by column: right to within two pixels of the seam.
    columns = logits.mean((0, 1, 2))
    assert bool((columns[:14] < 0).all())
    assert bool((columns[18:] > 0).all())


def test_spectral_norm_is_on_all_but_the_first_and_the_last():
    critic = UnetGAN(width=4, data=DataInfo.square(32))
    convolutions = [module for module in critic.modules() if isinstance(module, torch.nn.Conv2d)]
    normed = [parametrize.is_parametrized(module) for module in convolutions]
    assert len(convolutions) == 10
    assert normed == [False, *[True] * 8, False]


def test_other_sizes_are_an_error_that_names_what_fits():
    with pytest.raises(RecipeError, match=r"multiple of 8, these have 100; use levels: 2, or size: 96 or 104"):
        UnetGAN(data=DataInfo.square(100))
    with pytest.raises(RecipeError, match=r"multiple of 8, these have 7; use size: 8"):
        UnetGAN(data=DataInfo.square(7))
