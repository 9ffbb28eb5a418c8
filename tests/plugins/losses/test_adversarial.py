"""Both sides of every adversarial loss, and the regularisers, by hand."""

from __future__ import annotations

import math

import pytest
import torch

from enface_plugins.losses.feature_matching import FeatureMatching
from enface_plugins.losses.gradient_penalty import GradientPenalty
from enface_plugins.losses.lecam import Lecam
from enface_plugins.losses.lsgan import Lsgan
from enface_plugins.losses.patch_nce import PatchNCE
from enface_plugins.losses.r1 import R1
from enface_plugins.losses.r2 import R2
from enface_plugins.losses.relativistic_average import RelativisticAverage
from enface_plugins.losses.relativistic_paired import RelativisticPaired
from enface_plugins.losses.vanilla import Vanilla
from enface_plugins.losses.wgan import Wgan

REAL, FAKE = torch.tensor([2.0, -1.0]), torch.tensor([0.5, -3.0])


def bce(logit: float, label: float) -> float:
    chance = 1 / (1 + math.exp(-logit))
    return -label * math.log(chance) - (1 - label) * math.log(1 - chance)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_vanilla_is_cross_entropy(smoothing):
    loss = Vanilla(smoothing=smoothing)
    critic = [bce(real, 1 - smoothing) + bce(fake, 0) for real, fake in zip(REAL.tolist(), FAKE.tolist(), strict=True)]
    torch.testing.assert_close(loss.critic(REAL, FAKE), torch.tensor(critic))
    torch.testing.assert_close(loss(FAKE), torch.tensor([bce(fake, 1) for fake in FAKE.tolist()]))


def test_lsgan():
    torch.testing.assert_close(Lsgan()(FAKE), torch.tensor([0.125, 8.0]))
    torch.testing.assert_close(Lsgan().critic(REAL, FAKE), torch.tensor([0.5 + 0.125, 2.0 + 4.5]))


def test_wgan():
    torch.testing.assert_close(Wgan()(FAKE), torch.tensor([-0.5, 3.0]))
    torch.testing.assert_close(Wgan().critic(REAL, FAKE), torch.tensor([-1.5, -2.0]))


def test_relativistic_average():
    # mean(real) = 0.5, mean(fake) = -1.25
    critic = [bce(2 + 1.25, 1) + bce(0.5 - 0.5, 0), bce(-1 + 1.25, 1) + bce(-3 - 0.5, 0)]
    generator = [bce(2 + 1.25, 0) + bce(0.5 - 0.5, 1), bce(-1 + 1.25, 0) + bce(-3 - 0.5, 1)]
    torch.testing.assert_close(RelativisticAverage().critic(REAL, FAKE), torch.tensor(critic))
    torch.testing.assert_close(RelativisticAverage()(REAL, FAKE), torch.tensor(generator))


def test_relativistic_paired():
    torch.testing.assert_close(RelativisticPaired().critic(REAL, FAKE), torch.tensor([bce(1.5, 1), bce(2.0, 1)]))
    torch.testing.assert_close(RelativisticPaired()(REAL, FAKE), torch.tensor([bce(-1.5, 1), bce(-2.0, 1)]))


def quadratic(image):
    """D(x) = sum x^2, with the gradient 2 x."""
    return {"logits": image.square().flatten(1).sum(1)}


@pytest.mark.parametrize(("loss", "argument"), [(R1(), "real_image"), (R2(), "fake_image")])
def test_r1_and_r2_are_half_the_squared_norm_of_the_gradient(loss, argument):
    image = torch.full((2, 3, 4, 4), 0.5)
    # 48 numbers, each with a gradient of 1.
    torch.testing.assert_close(loss.critic(**{argument: image}, judge=quadratic), torch.full((2,), 24.0))


def test_a_regulariser_trains_the_critic():
    scale = torch.tensor(2.0, requires_grad=True)
    R1().critic(torch.ones(1, 3, 2, 2), lambda image: {"logits": scale * image.sum((1, 2, 3))}).sum().backward()
    # (12 scale^2) / 2
    torch.testing.assert_close(scale.grad, torch.tensor(24.0))


@pytest.mark.parametrize(("center", "expected"), [(1.0, (math.sqrt(48) - 1) ** 2), (0.0, 48.0)])
def test_gradient_penalty_between_equal_images(center, expected):
    image = torch.full((2, 3, 4, 4), 0.5)
    penalty = GradientPenalty(center=center).critic(image, image.clone(), quadratic)
    torch.testing.assert_close(penalty, torch.full((2,), expected))


def test_a_flat_critic_has_a_finite_gradient_under_the_penalty():
    scale = torch.tensor(0.0, requires_grad=True)
    image = torch.ones(1, 3, 2, 2)
    GradientPenalty().critic(image, image, lambda x: {"logits": scale * x.sum((1, 2, 3))}).sum().backward()
    assert scale.grad.isfinite()


def test_relativistic_average_beside_published_code():
    """The author's code halves the sum; BasicSR's also holds both means constant while it trains the critic."""
    draw = torch.Generator().manual_seed(0)
    real, fake = (torch.randn(6, generator=draw).requires_grad_() for _ in range(2))

    def halved(real, fake, real_mean, fake_mean):
        higher, lower = real - fake_mean, fake - real_mean
        return (-higher.sigmoid().log().mean() - (1 - lower.sigmoid()).log().mean()) / 2

    def slopes(value):
        return torch.cat(torch.autograd.grad(value, (real, fake), retain_graph=True))

    ours = RelativisticAverage().critic(real, fake).mean()
    author = halved(real, fake, real.mean(), fake.mean())
    constant = halved(real, fake, real.mean().detach(), fake.mean().detach())
    torch.testing.assert_close(ours, 2 * author)
    torch.testing.assert_close(slopes(ours), 2 * slopes(author))
    torch.testing.assert_close(slopes(ours).abs().sum(), 4 * slopes(constant).abs().sum(), rtol=0.02, atol=0)


def test_lecam_follows_the_critics_logits():
    loss = Lecam(decay=0.5)
    # The averages start at the first batch's means, 0.5 and -1.25.
    error = loss.critic(REAL, FAKE)
    real, fake = 0.5, -1.25
    expected = [(2 - fake) ** 2 + max(0, real - 0.5) ** 2, max(0, -1 - fake) ** 2 + (real + 3) ** 2]
    torch.testing.assert_close(error, torch.tensor(expected))
    torch.testing.assert_close(loss.averages, torch.tensor([real, fake]))
    assert set(loss.state_dict()) == {"sums"}


def test_lecam_averages_as_its_published_code():
    # stylegan2/lecam_loss.py of google/lecam-gan: TensorFlow's assign_moving_average with zero_debias.
    loss, decay, draw = Lecam(decay=0.9), 0.9, torch.Generator().manual_seed(0)
    biased = [0.0, 0.0]
    for updates in range(1, 21):
        real, fake = (torch.randn(3, 1, 4, 4, generator=draw) for _ in range(2))
        for side, logits in enumerate((real, fake)):
            biased[side] -= (biased[side] - float(logits.mean())) * (1 - decay)
        average_real, average_fake = (item / (1 - decay**updates) for item in biased)
        expected = (real - average_fake).relu().square() + (average_real - fake).relu().square()
        torch.testing.assert_close(loss.critic(real, fake), expected)


def test_lecam_of_a_constant_critic_has_its_limit_from_the_first_update_on():
    loss = Lecam()
    # (1 + 1)^2 + (1 + 1)^2
    for _ in range(3):
        torch.testing.assert_close(loss.critic(torch.ones(4), -torch.ones(4)), torch.full((4,), 8.0))


def test_feature_matching_averages_layers_and_trains_the_output_only():
    real = (torch.zeros(2, 1, 2, 2, requires_grad=True), torch.zeros(2, 3, 1, 1, requires_grad=True))
    fake = (torch.full((2, 1, 2, 2), 1.0, requires_grad=True), torch.full((2, 3, 1, 1), 3.0, requires_grad=True))
    distance = FeatureMatching()(real, fake)
    torch.testing.assert_close(distance, torch.tensor([2.0, 2.0]))
    distance.sum().backward()
    assert real[0].grad is None
    assert float(fake[0].grad.abs().sum()) > 0


def test_patch_nce_by_hand():
    patches = torch.eye(2).view(1, 2, 2, 1)
    # Each patch equals itself (similarity 1) and differs from the other (0).
    same = PatchNCE(temperature=1.0)((patches,), (patches,))
    torch.testing.assert_close(same, torch.tensor([math.log(1 + math.exp(-1))]))
    swapped = PatchNCE(temperature=1.0)((patches,), (patches.flip(2),))
    torch.testing.assert_close(swapped, torch.tensor([math.log(1 + math.e)]))
