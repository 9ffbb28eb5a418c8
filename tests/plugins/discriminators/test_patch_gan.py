"""The patch discriminator: shapes, sizes, receptive field, spectral norm."""

from __future__ import annotations

import pytest
import torch
from torch.nn.utils import parametrize

from enface import DataInfo, RecipeError
from enface_plugins.discriminators.patch_gan import PatchGAN


@pytest.mark.parametrize(("size", "logits"), [(32, 2), (64, 6), (96, 10)])
@pytest.mark.parametrize("norm", ["batch", "instance", "none"])
def test_shapes(size, logits, norm):
    critic = PatchGAN(width=8, norm=norm, data=DataInfo.square(size=size))
    output = critic(torch.randn(2, 3, size, size))
    assert set(output) == set(critic.provides)
    assert output["logits"].shape == (2, 1, logits, logits)
    assert [tuple(feature.shape[1:]) for feature in output["features"]] == [
        (8, size // 2, size // 2),
        (16, size // 4, size // 4),
        (32, size // 8, size // 8),
        (64, size // 8 - 1, size // 8 - 1),
    ]


@pytest.mark.parametrize(("layers", "field"), [(1, 16), (2, 34), (3, 70)])
def test_receptive_field(layers, field):
    critic = PatchGAN(width=4, layers=layers, norm="none", data=DataInfo.square(size=128)).double()
    image = torch.randn(1, 3, 128, 128, dtype=torch.float64, requires_grad=True)
    logits = critic(image)["logits"]
    middle = logits.shape[-1] // 2
    logits[0, 0, middle, middle].backward()
    seen = image.grad.abs().sum((0, 1)) > 0
    assert seen.any(0).sum() == seen.any(1).sum() == field


def test_parameter_count():
    # pix2pix's 70x70 discriminator on 3 channels: 4x4 kernels 3-64-128-256-512-1, two biases, three norms.
    kernels = 16 * (3 * 64 + 64 * 128 + 128 * 256 + 256 * 512 + 512)
    count = sum(p.numel() for p in PatchGAN(data=DataInfo.square(size=96)).parameters())
    assert count == kernels + (64 + 1) + 2 * (128 + 256 + 512) == 2_765_633
    deeper = PatchGAN(layers=4, data=DataInfo.square(size=96))
    assert max(p.shape[0] for p in deeper.parameters()) == 512


def test_too_small_images_are_an_error_that_names_what_fits():
    with pytest.raises(RecipeError, match="at least 48 px, these have 32; use layers: 3"):
        PatchGAN(layers=4, data=DataInfo.square(size=32))
    with pytest.raises(RecipeError, match="use larger images"):
        PatchGAN(layers=1, data=DataInfo.square(size=5))
    smallest = PatchGAN(width=4, layers=2, data=DataInfo.square(size=12))
    assert smallest(torch.randn(1, 3, 12, 12))["logits"].shape == (1, 1, 1, 1)


def test_spectral_norm_bounds_every_convolution():
    torch.manual_seed(0)
    critic = PatchGAN(width=8, norm="none", spectral_norm=True, data=DataInfo.square(size=32))
    convs = [module for module in critic.modules() if parametrize.is_parametrized(module)]
    assert len(convs) == 5
    for conv in convs:
        largest = torch.linalg.matrix_norm(conv.weight.detach().flatten(1), ord=2)
        assert largest.item() == pytest.approx(1, abs=0.1)
    plain = PatchGAN(width=8, data=DataInfo.square(size=32))
    assert not any(parametrize.is_parametrized(module) for module in plain.modules())


def test_both_players_get_gradients_through_two_calls():
    critic = PatchGAN(width=4, norm="none", spectral_norm=True, data=DataInfo.square(size=32))
    real, fake = (torch.randn(2, 3, 32, 32, requires_grad=True) for _ in range(2))
    (critic(real)["logits"].mean() - critic(fake)["logits"].mean()).backward()
    for tensor in (real, fake, *critic.parameters()):
        assert tensor.grad is not None
        assert tensor.grad.isfinite().all()
