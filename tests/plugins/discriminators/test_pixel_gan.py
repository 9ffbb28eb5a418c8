"""The pixel discriminator: receptive field, shapes, size."""

from __future__ import annotations

import pytest
import torch

from enface import DataInfo
from enface_plugins.discriminators.pixel_gan import PixelGAN

DATA = DataInfo.square(96)


@pytest.mark.parametrize("size", [7, 32, 96])
@pytest.mark.parametrize("norm", ["batch", "instance", "none"])
def test_there_is_a_logit_for_every_pixel_of_any_size(size, norm):
    output = PixelGAN(width=4, norm=norm, data=DATA)(torch.randn(2, 3, size, size))
    assert output["logits"].shape == (2, 1, size, size)
    assert [tuple(item.shape) for item in output["features"]] == [(2, 4, size, size), (2, 8, size, size)]


def test_a_logit_sees_one_pixel():
    critic = PixelGAN(width=4, norm="none", data=DATA).double()
    image = torch.randn(1, 3, 16, 16, dtype=torch.float64, requires_grad=True)
    critic(image)["logits"][0, 0, 5, 9].backward()
    assert (image.grad.abs().sum((0, 1)) > 0).nonzero().tolist() == [[5, 9]]


def test_the_position_of_a_pixel_does_not_matter():
    torch.manual_seed(0)
    critic, image, order = PixelGAN(width=4, data=DATA), torch.randn(2, 3, 64), torch.randperm(64)
    straight = critic(image.view(2, 3, 8, 8))["logits"].flatten(2)
    turned = critic(image[..., order].reshape(2, 3, 8, 8))["logits"].flatten(2)
    torch.testing.assert_close(turned, straight[..., order])


def test_parameter_count():
    # pix2pix's pixel discriminator on 3 channels: 3-64-128-1, two biases, one norm.
    count = sum(parameter.numel() for parameter in PixelGAN(data=DATA).parameters())
    assert count == 3 * 64 + 64 * 128 + 128 + (64 + 1) + 2 * 128
